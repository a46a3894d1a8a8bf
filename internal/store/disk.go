package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime"
	"slices"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// disk is the SQLite side: one table per definition with the columns key and row (JSON).
type disk struct {
	db   *sql.DB
	conn *sql.Conn
	// put and remove by slot.
	put, remove []*sql.Stmt
}

// migrations bring a file from layout n to n+1; the layout is kept in SQLite's user_version.
var migrations = []func(ctx context.Context, tx *sql.Tx) error{createTables}

func createTables(ctx context.Context, tx *sql.Tx) error {
	for _, d := range schema {
		// A table that a later version adds is made here too, by the check in prepare.
		if _, err := tx.ExecContext(ctx, tableSQL(d)); err != nil {
			return err
		}
	}
	return nil
}

func tableSQL(d *definition) string {
	return "CREATE TABLE IF NOT EXISTS " + d.name + " (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
}

func openDisk(path string, noSync bool) (*disk, error) {
	if err := createFile(path); err != nil {
		return nil, err
	}
	sync := "FULL"
	if noSync {
		sync = "OFF"
	}
	query := url.Values{"_pragma": {"locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(" + sync + ")", "busy_timeout(0)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	d := &disk{db: db}
	if err := d.prepare(context.Background()); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *disk) prepare(ctx context.Context) error {
	if err := d.migrate(ctx); err != nil {
		return err
	}
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	d.conn = conn
	for _, def := range schema {
		if _, err := conn.ExecContext(ctx, tableSQL(def)); err != nil {
			return err
		}
		put, err := conn.PrepareContext(ctx, "INSERT INTO "+def.name+" (key, row) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row")
		if err != nil {
			return err
		}
		remove, err := conn.PrepareContext(ctx, "DELETE FROM "+def.name+" WHERE key = ?")
		if err != nil {
			return err
		}
		d.put, d.remove = append(d.put, put), append(d.remove, remove)
	}
	return nil
}

// migrate brings the file to the current layout, each step and its number in one transaction.
func (d *disk) migrate(ctx context.Context) error {
	var version int
	if err := d.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("layout %d is newer than this program's %d: use the version that wrote it, or a newer one", version, len(migrations))
	}
	for n := version; n < len(migrations); n++ {
		tx, err := d.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		err = migrations[n](ctx, tx)
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", n+1))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("cannot migrate to layout %d: %w", n+1, err), tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// load reads and decodes every row.
func (d *disk) load() ([]state, error) {
	states := make([]state, len(schema))
	for n, def := range schema {
		var raw []entry
		err := d.each(def, func(key string, data []byte) error {
			raw = append(raw, entry{key, data})
			return nil
		})
		if err != nil {
			return nil, err
		}
		if states[n], err = def.state(raw); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// state makes a table's state of encoded rows, decoding on every processor.
func (def *definition) state(raw []entry) (state, error) {
	var work sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), 1+len(raw)/256)
	errs := make([]error, workers)
	for w := range workers {
		work.Go(func() {
			for i := w; i < len(raw); i += workers {
				row, err := def.decode(raw[i].row.([]byte))
				if err != nil {
					errs[w] = fmt.Errorf("table %s, key %q: %w", def.name, raw[i].key, err)
					return
				}
				raw[i].row = row
			}
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return state{}, err
	}
	s := state{count: len(raw), indexes: make([]*tree, len(def.indexes))}
	for i, of := range def.indexes {
		var entries []entry
		for _, e := range raw {
			for _, v := range of(e.row) {
				entries = append(entries, entry{v + e.key, e.row})
			}
		}
		s.indexes[i] = build(entries)
	}
	s.rows = build(raw)
	return s, nil
}

func (d *disk) each(def *definition, fn func(key string, data []byte) error) error {
	rows, err := d.conn.QueryContext(context.Background(), "SELECT key, row FROM "+def.name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, data []byte
		if err := rows.Scan(&key, &data); err != nil {
			return err
		}
		if err := fn(string(key), data); err != nil {
			return err
		}
	}
	return rows.Err()
}

// write applies changes in one transaction.
func (d *disk) write(changes []map[string]any) error {
	if err := injectedFull(); err != nil {
		return err
	}
	ctx := context.Background() // once begun, a commit is not given up half-way
	if d.conn == nil {
		return errors.New("the store is closed")
	}
	tx, err := d.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for n, rows := range changes {
		put, remove := tx.Stmt(d.put[n]), tx.Stmt(d.remove[n])
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			if err := apply(put, remove, key, rows[key]); err != nil {
				return errors.Join(fmt.Errorf("table %s: %w", schema[n].name, err), tx.Rollback())
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return nil
}

func apply(put, remove *sql.Stmt, key string, row any) error {
	if row == nil {
		_, err := remove.Exec([]byte(key))
		return err
	}
	data, err := json.Marshal(row)
	if err != nil {
		return err
	}
	_, err = put.Exec([]byte(key), data)
	return err
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

func (d *disk) compare(states []state) error {
	for n, def := range schema {
		count := 0
		err := d.each(def, func(key string, data []byte) error {
			count++
			row, ok := states[n].rows.get(key)
			if !ok {
				return fmt.Errorf("table %s, key %q is on disk only", def.name, key)
			}
			if memory, err := json.Marshal(row); err != nil || !bytes.Equal(memory, data) {
				return errors.Join(fmt.Errorf("table %s, key %q: memory %s, disk %s", def.name, key, memory, data), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if count != states[n].count {
			return fmt.Errorf("table %s: %d rows in memory, %d on disk", def.name, states[n].count, count)
		}
	}
	return nil
}

func (d *disk) close() error {
	var errs []error
	// An open statement would keep the file locked.
	for _, stmt := range slices.Concat(d.put, d.remove) {
		errs = append(errs, stmt.Close())
	}
	d.put, d.remove = nil, nil
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
		d.conn = nil
	}
	return errors.Join(append(errs, d.db.Close())...)
}
