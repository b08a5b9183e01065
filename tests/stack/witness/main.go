// A witness of logs (c2sp.org/tlog-witness) for the tests: it knows one log, and signs a checkpoint of it when the proof says
// that the log only grew. The cosignatures are filippo.io/torchwood's, the proofs golang.org/x/mod/sumdb's.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type witness struct {
	sync.Mutex
	origin   string
	verifier note.Verifier
	signer   note.Signer
	seen     tlog.Tree
}

// add takes the body of an add-checkpoint request, and gives a status and its answer.
func (w *witness) add(body string) (int, string) {
	w.Lock()
	defer w.Unlock()
	head, text, found := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || !strings.HasPrefix(lines[0], "old ") {
		return 400, "not a request\n"
	}
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if err != nil {
		return 400, "not a size\n"
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return 400, "not a hash\n"
		}
		proof = append(proof, tlog.Hash(hash))
	}
	signed, err := note.Open([]byte(text), note.VerifierList(w.verifier))
	if err != nil {
		return 403, "not signed by the log\n"
	}
	checkpoint, err := torchwood.ParseCheckpoint(signed.Text)
	if err != nil || checkpoint.Origin != w.origin {
		return 404, "not a checkpoint of the log\n"
	}
	if old > checkpoint.N {
		return 400, "the old size is above the checkpoint's\n"
	}
	if old != w.seen.N {
		return 409, fmt.Sprintf("%d\n", w.seen.N)
	}
	if old == checkpoint.N && checkpoint.Hash != w.seen.Hash {
		return 409, fmt.Sprintf("%d\n", w.seen.N)
	}
	if old > 0 && old < checkpoint.N {
		if err := tlog.CheckTree(proof, checkpoint.N, checkpoint.Hash, old, w.seen.Hash); err != nil {
			return 422, "the proof does not hold\n"
		}
	}
	cosigned, err := note.Sign(&note.Note{Text: signed.Text}, w.signer)
	if err != nil {
		return 500, err.Error() + "\n"
	}
	w.seen = checkpoint.Tree
	_, signatures, _ := strings.Cut(string(cosigned), "\n\n")
	return 200, signatures
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: witness ADDRESS ORIGIN KEY")
	}
	verifier, err := note.NewVerifier(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := torchwood.NewCosignatureSigner("witness.example/test", key)
	if err != nil {
		log.Fatal(err)
	}
	w := &witness{origin: os.Args[2], verifier: verifier, signer: signer}
	http.HandleFunc("/add-checkpoint", func(out http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(io.LimitReader(in.Body, 64<<10))
		status, answer := 400, "not read\n"
		if err == nil {
			status, answer = w.add(string(body))
		}
		if status == 409 {
			out.Header().Set("Content-Type", "text/x.tlog.size")
		}
		out.WriteHeader(status)
		io.WriteString(out, answer)
	})
	fmt.Printf("vkey=%s\n", signer.Verifier())
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
