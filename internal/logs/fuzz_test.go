package logs

import (
	"bytes"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

// FuzzWAL: whatever a file holds, reading ends without a panic, and what was read encodes to the same change.
func FuzzWAL(f *testing.F) {
	o := &op{kind: recordAppend, lsn: 7, key: streamKey("g", "s"), ingested: 5, cursor: &Cursor{Name: "c", Value: -3},
		parts: encodeParts([]app.LogEvent{event(0, "a"), event(dayMillis, "b"), event(1, "c")})}
	good := frame(nil, o)
	f.Add(good)
	f.Add(append(bytes.Clone(good), good[:20]...))
	f.Add(frame(nil, &op{kind: recordDeleteStream, lsn: 1, key: streamKey("g", "s")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := readWAL(bytes.NewReader(data), func(o *op) error {
			again, err := decodeOp(o.encode(nil))
			if err != nil || again.lsn != o.lsn || again.key != o.key || len(again.parts) != len(o.parts) {
				t.Fatalf("%+v decodes to %+v, %v", o, again, err)
			}
			for i := range o.parts {
				er := eventReader{r: reader{b: o.parts[i].data}}
				for _, _, _, ok := er.next(); ok; _, _, _, ok = er.next() {
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzBlock: a damaged segment is noticed or harmless.
func FuzzBlock(f *testing.F) {
	h := newHead(dayOf(base.UnixMilli()), time.Time{})
	for i := range 3 {
		parts := encodeParts([]app.LogEvent{event(int64(i), "hello %d", i)})
		h.add("s", uint64(i+1), 1, &parts[0])
	}
	w, err := newBlockWriter()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(w.encode(h)))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		info, _, err := readBlock(in, 0, int64(len(data)), nil)
		if err != nil {
			return
		}
		if info.end <= 0 || info.end > int64(len(data)) || info.payloadOff > info.end || info.bloomOff > info.payloadOff {
			t.Fatalf("a header points outside its block: %+v", info)
		}
		if _, err := readBloom(in, &info); err != nil {
			return
		}
		raw, err := readPayload(in, &info, nil)
		if err != nil {
			return
		}
		sc := &scan{page: newPage(false, 10), to: maxTimestamp, stream: func(string) bool { return true }}
		wanted := make([]bool, len(info.streams))
		for i := range wanted {
			wanted[i] = true
		}
		sc.events(&source{span: info.span, info: &info}, raw, wanted, nil)
	})
}
