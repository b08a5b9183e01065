// Verifies a log of the audit with golang.org/x/mod/sumdb: that its checkpoint is signed by the key, that each record is in
// the tree, and that each checkpoint before is of the same tree. Its paths are those of c2sp.org/tlog-tiles.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// log is a folder.
type log string

func (l log) Height() int { return height }

func (l log) SaveTiles([]tlog.Tile, [][]byte) {}

func (l log) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := l.read(strconv.Itoa(tile.L), tile.N, tile.W)
		if err != nil {
			return nil, err
		}
		if len(data) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %v is short", tile)
		}
		all = append(all, data[:tile.W*tlog.HashSize])
	}
	return all, nil
}

// read gives a tile or a bundle of entries; a whole one in place of a part that is there no more.
func (l log) read(kind string, n int64, width int) ([]byte, error) {
	path := fmt.Sprintf("%03d", n%1000)
	for rest := n / 1000; rest > 0; rest /= 1000 {
		path = fmt.Sprintf("x%03d/%s", rest%1000, path)
	}
	path = filepath.Join(string(l), "tile", kind, path)
	if width < 1<<height {
		data, err := os.ReadFile(fmt.Sprintf("%s.p/%d", path, width))
		if !os.IsNotExist(err) {
			return data, err
		}
	}
	return os.ReadFile(path)
}

// open gives the tree that a signed checkpoint is of.
func open(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	n, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), n.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("not a hash: %q", lines[2])
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], hash)
	return tree, nil
}

func run(folder, key string) error {
	l := log(folder)
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(text, verifier)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, l)
	for first := int64(0); first < tree.N; first += 1 << height {
		width := tree.N - first
		if width > 1<<height {
			width = 1 << height
		}
		data, err := l.read("entries", first>>height, int(width))
		if err != nil {
			return err
		}
		for n := first; n < first+width; n++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("record %d is torn", n)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			entry := data[2:end]
			data = data[end:]
			proof, err := tlog.ProveRecord(tree.N, n, reader)
			if err != nil {
				return fmt.Errorf("record %d: %v", n, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("record %d: %v", n, err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "checkpoints", "*"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		// Notes one behind the other, each ended by an empty line.
		parts := bytes.Split(text, []byte("\n\n"))
		for i := 0; i+1 < len(parts); i += 2 {
			one := append(append(append([]byte{}, parts[i]...), "\n\n"...), append(parts[i+1], '\n')...)
			old, err := open(one, verifier)
			if err != nil {
				return fmt.Errorf("%s, checkpoint %d: %v", file, i/2+1, err)
			}
			if old.N > 0 {
				proof, err := tlog.ProveTree(tree.N, old.N, reader)
				if err != nil {
					return err
				}
				if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
					return fmt.Errorf("%s, checkpoint %d: %v", file, i/2+1, err)
				}
			}
			count++
		}
	}
	fmt.Printf("%d records and %d checkpoints\n", tree.N, count)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tlog FOLDER KEY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
