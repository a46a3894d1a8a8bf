package script

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/funade/funade/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// story is what the commands of one script share.
type story struct {
	ctx    context.Context
	server *harness.Server
	calls  *hammer
}

type storyKey struct{}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

func TestStories(t *testing.T) {
	bin, err := harness.Funade()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := harness.TestApp(); err != nil {
		t.Fatal(err)
	}
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     false,
		Setup: func(env *testscript.Env) error {
			st := &story{ctx: context.Background()}
			env.Values[storyKey{}] = st
			env.Setenv("FUNADE", bin)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PATH", filepath.Join(root, "bin", "tools")+":/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
			env.Setenv("ROOTFS", filepath.Join(root, ".cache", "rootfs"))
			env.Setenv("AWS_PAGER", "")
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Defer(func() { st.clean(t) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"server":       cmdServer,
			"image":        cmdImage,
			"funade":       cmdFunade,
			"aws":          cmdAWS,
			"get":          cmdGet,
			"until":        cmdUntil,
			"capture":      cmdCapture,
			"login":        cmdLogin,
			"hammer":       cmdHammer,
			"nothing-left": cmdNothingLeft,
			"outside":      cmdOutside,
		},
	})
}

// clean removes the server's containers even when the story has failed.
func (st *story) clean(t *testing.T) {
	if st.calls != nil {
		st.calls.end()
	}
	if st.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if t.Failed() {
		t.Logf("end of the server's log:\n%s", st.server.LogTail())
	}
	if err := st.server.Purge(ctx); err != nil {
		t.Error(err)
	}
}
