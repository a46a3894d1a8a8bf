package ec2

import (
	"testing"

	"github.com/funade/funade/internal/app"
)

func TestModifyVolume(t *testing.T) {
	b := newBench(t)
	d := b.host(named(b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24"), "db"))
	id := d.Volumes[0]
	for _, c := range []struct{ want, now app.VolumeSizing }{
		{app.VolumeSizing{Size: 20}, app.VolumeSizing{Size: 20, Type: "gp3", IOPS: 3000, Throughput: 125}},
		{app.VolumeSizing{IOPS: 4000, Throughput: 250}, app.VolumeSizing{Size: 20, Type: "gp3", IOPS: 4000, Throughput: 250}},
		{app.VolumeSizing{Type: "gp2"}, app.VolumeSizing{Size: 20, Type: "gp2"}},
		{app.VolumeSizing{Type: "io2", IOPS: 500}, app.VolumeSizing{Size: 20, Type: "io2", IOPS: 500}},
		{app.VolumeSizing{Type: "gp2"}, app.VolumeSizing{Size: 20, Type: "gp2"}},
	} {
		before := b.volume(id)
		if _, err := b.ModifyVolume(ctx, scope, id, c.want); err != nil {
			t.Fatal(err)
		}
		v := b.volume(id)
		if got := (app.VolumeSizing{Size: v.Size, Type: v.Type, IOPS: v.IOPS, Throughput: v.Throughput}); got != c.now || v.Modification.To != c.now || v.Modification.From.Type != before.Type || !v.Modification.At.Equal(b.now) || v.Host != d.ID {
			t.Errorf("after %+v it is %+v", c.want, v)
		}
	}
	for _, c := range []struct {
		want       app.VolumeSizing
		code, text string
	}{
		{app.VolumeSizing{Size: 19}, "InvalidParameterValue", "New size cannot be smaller than existing size"},
		{app.VolumeSizing{Size: 65537}, "InvalidParameterValue", "65536"},
		{app.VolumeSizing{IOPS: -1}, "InvalidParameterValue", "positive"},
		{app.VolumeSizing{IOPS: 100}, "InvalidParameterCombination", "iops is not supported for gp2"},
		{app.VolumeSizing{Throughput: 200}, "InvalidParameterCombination", "throughput is not supported for gp2"},
		{app.VolumeSizing{Type: "io1"}, "MissingParameter", "iops"},
	} {
		before := b.volume(id)
		_, err := b.ModifyVolume(ctx, scope, id, c.want)
		fails(t, err, c.code, c.text)
		if b.volume(id).Modification != before.Modification {
			t.Errorf("the refused %+v is kept", c.want)
		}
	}
	_, err := b.ModifyVolume(ctx, other, id, app.VolumeSizing{Size: 30})
	fails(t, err, "InvalidVolume.NotFound", string(id))
}
