package logs

import "context"

// flushAndSync moves everything in memory into segments.
func (s *Store) flushAndSync(ctx context.Context) error {
	return s.submit(ctx, &op{kind: opCheckpoint})
}
