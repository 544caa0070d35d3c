// Checks a log with Go's own packages for signed notes and transparency logs, and no code of this project.
//
//	go run check-log.go URL VKEY [KEPT]
//
// URL is the address of the log, VKEY its verifier key, and KEPT a file with an older checkpoint, which the log has to
// continue. A published folder is an address too: file:///path/to/published. LEDGER_TOKEN is sent where it is set.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := check(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(url, vkey string, kept []string) error {
	http.DefaultTransport.(*http.Transport).RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	served, err := read(url + "/checkpoint")
	if err != nil {
		return err
	}
	tree, err := open(served, verifier)
	if err != nil {
		return err
	}
	fmt.Printf("signature: good, %d leaves\n", tree.N)
	tiles := tlog.TileHashReader(tree, &tileReader{url, map[string][]byte{}})
	for _, file := range kept {
		if err := checkConsistency(file, verifier, tree, tiles); err != nil {
			return err
		}
	}
	return checkEntries(url, tree, tiles)
}

// Does the log begin with the leaves of the kept checkpoint?
func checkConsistency(file string, verifier note.Verifier, tree tlog.Tree, tiles tlog.HashReader) error {
	kept, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	older, err := open(kept, verifier)
	if err != nil {
		return err
	}
	if older.N > tree.N {
		return fmt.Errorf("the log has %d leaves, the kept checkpoint %d", tree.N, older.N)
	}
	proof, err := tlog.ProveTree(tree.N, older.N, tiles)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash); err != nil {
		return err
	}
	fmt.Printf("consistency: good, from %d leaves\n", older.N)
	return nil
}

// Is the last entry of each tile in the tree, and is the root that of all entries? Tiles alone are not enough: below
// version 0.40.0, TileHashReader takes one for true that was changed together with its entry (GO-2026-6179).
func checkEntries(url string, tree tlog.Tree, tiles tlog.HashReader) error {
	var stored []tlog.Hash
	all := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	for first := int64(0); first < tree.N; first += 256 {
		entries, err := readEntries(url, first, tree.N)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			hashes, err := tlog.StoredHashes(first+int64(i), entry, all)
			if err != nil {
				return err
			}
			stored = append(stored, hashes...)
		}
		last := first + int64(len(entries)) - 1
		proof, err := tlog.ProveRecord(tree.N, last, tiles)
		if err != nil {
			return err
		}
		leaf := tlog.RecordHash(entries[len(entries)-1])
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, last, leaf); err != nil {
			return fmt.Errorf("entry %d: %v", last, err)
		}
	}
	fmt.Println("inclusion: good")
	root, err := tlog.TreeHash(tree.N, all)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the entries are not those of the checkpoint")
	}
	fmt.Println("root of all entries: good")
	return nil
}

// tlog.ParseTree reads checkpoints of go.sum databases only.
func open(signed []byte, verifier note.Verifier) (tree tlog.Tree, err error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("a checkpoint of another log: %q", lines[0])
	}
	if _, err := fmt.Sscan(lines[1], &tree.N); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

// Each entry has its length before it, in two bytes.
func readEntries(url string, first, size int64) (entries [][]byte, err error) {
	width := size - first
	if width > 256 {
		width = 256
	}
	tile := tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}
	bundle, err := read(url + strings.Replace("/"+tile.Path(), "/tile/8/data/", "/tile/entries/", 1))
	if err != nil {
		return nil, err
	}
	for len(bundle) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		if end > len(bundle) {
			break
		}
		entries, bundle = append(entries, bundle[2:end]), bundle[end:]
	}
	if len(bundle) > 0 || len(entries) != tile.W {
		return nil, fmt.Errorf("%s: cut off, or too long", tile.Path())
	}
	return entries, nil
}

// Go's paths have the height of a tile in them, 8; those of C2SP have not.
type tileReader struct {
	url   string
	known map[string][]byte
}

func (r *tileReader) Height() int { return 8 }

func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r *tileReader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "/tile/", 1)
		if r.known[path] == nil {
			if r.known[path], err = read(r.url + path); err != nil {
				return nil, err
			}
		}
		data = append(data, r.known[path])
	}
	return data, nil
}

func read(url string) ([]byte, error) {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, err
	}
	if token := os.Getenv("LEDGER_TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return nil, fmt.Errorf("%s: %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}
