package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"golang.org/x/sys/unix"
)

// diskBytes is the size of the small disk: more than the space that images never take.
const diskBytes = 800 << 20

// TestFullDisk fills the disk of the data directory twice: up to the space kept from images, and to the last byte.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	check(t, unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=711", diskBytes)))
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, disk)
	svc := w.running("kept")
	arn, url := aws.ToString(svc.ServiceArn), aws.ToString(svc.ServiceUrl)
	filler := filepath.Join(disk, "filler")

	check(t, w.push("waiting", 32<<20)) // it is unpacked only when it is deployed

	w.fill(filler, 400<<20)
	err := w.push("large", 48<<20)
	if err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("pushing to a full disk: %v, want the reason", err)
	}
	w.deploymentFails(arn, "waiting")
	check(t, w.get(url))

	w.fill(filler, 64<<10)
	if err := w.push("small", 1); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("pushing to a disk without a free byte: %v, want the reason", err)
	}
	check(t, w.get(url))
	for range 20 { // control writes have space of their own
		_, err := w.api.AppRunner.TagResource(w.ctx, &apprunner.TagResourceInput{ResourceArn: &arn, Tags: []types.Tag{{Key: aws.String("disk"), Value: aws.String("full")}}})
		check(t, err)
	}
	_, err = w.services()
	check(t, err)

	check(t, os.Remove(filler))
	check(t, w.push("large", 32<<20))
	w.image = strings.TrimSuffix(w.image, "v1") + "large"
	_, err = w.api.AppRunner.UpdateService(w.ctx, &apprunner.UpdateServiceInput{ServiceArn: &arn, SourceConfiguration: w.source()})
	check(t, err)
	w.answers(arn, 60*time.Second)
	other := w.running("other")
	w.remove(aws.ToString(other.ServiceArn))
	w.eventually(20*time.Second, "nothing is left that no row claims", w.unclaimed)
}

// fill makes the filler so large that free bytes are left on its disk.
func (w *world) fill(filler string, free int64) {
	w.t.Helper()
	f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY, 0o600)
	check(w.t, err)
	defer f.Close()
	var st unix.Statfs_t
	check(w.t, unix.Fstatfs(int(f.Fd()), &st))
	info, err := f.Stat()
	check(w.t, err)
	check(w.t, unix.Fallocate(int(f.Fd()), 0, 0, info.Size()+int64(st.Bavail)*st.Bsize-free))
}

// deploymentFails deploys an image that has to be unpacked and wants the deployment to fail with its reason.
func (w *world) deploymentFails(arn, tag string) {
	w.t.Helper()
	good := w.image
	w.image = strings.TrimSuffix(good, "v1") + tag
	defer func() { w.image = good }()
	out, err := w.api.AppRunner.UpdateService(w.ctx, &apprunner.UpdateServiceInput{ServiceArn: &arn, SourceConfiguration: w.source()})
	check(w.t, err)
	w.eventually(150*time.Second, "the deployment ends", func() error {
		ops, err := w.api.AppRunner.ListOperations(w.ctx, &apprunner.ListOperationsInput{ServiceArn: &arn})
		if err != nil {
			return err
		}
		for _, op := range ops.OperationSummaryList {
			if aws.ToString(op.Id) == aws.ToString(out.OperationId) && op.EndedAt != nil {
				if op.Status != types.OperationStatusRollbackSucceeded {
					w.t.Errorf("a deployment that a full disk prevents ended %s", op.Status)
				}
				return nil
			}
		}
		return fmt.Errorf("it is under way")
	})
	group := fmt.Sprintf("/aws/apprunner/%s/service", strings.Join(strings.Split(arn, "/")[1:], "/"))
	told, err := w.messages(group, "events")
	check(w.t, err)
	if text := strings.Join(told, "\n"); !strings.Contains(text, "is full") {
		w.t.Errorf("the events do not tell of the full disk:\n%s", text)
	}
}
