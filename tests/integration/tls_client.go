// A client of Go's crypto/tls: frames of all sizes there and back, torn in pieces, and connections that are resumed.
//
//	tls_client ADDRESS CA.pem 1.2|1.3
//
// Prints "N frames, N resumed".
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"time"
)

const actionTime = 9 // answered by {"time":…}, before login too

func pack(seq uint16, body []byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	frame = binary.BigEndian.AppendUint16(frame, actionTime)
	frame = binary.BigEndian.AppendUint16(frame, seq)
	return append(frame, body...)
}

// answer reads one frame and checks that it is the answer to seq.
func answer(c io.Reader, seq uint16) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		log.Fatalf("answer %d: %v", seq, err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head)-8)
	if _, err := io.ReadFull(c, body); err != nil {
		log.Fatalf("answer %d: %v", seq, err)
	}
	if got := binary.BigEndian.Uint16(head[6:]); got != seq || !bytes.Contains(body, []byte(`"time":`)) {
		log.Fatalf("answer %d, not %d: %s", got, seq, body)
	}
}

func main() {
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	version := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[os.Args[3]]
	config := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	frames, resumed := 0, 0
	for i := 0; i < 4; i++ {
		c, err := tls.Dial("tcp", os.Args[1], config)
		if err != nil {
			log.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(60 * time.Second))
		if c.ConnectionState().DidResume {
			resumed++
		}
		for seq := uint16(1); seq <= 300; seq++ {
			body := append([]byte(`{"pad":"`), bytes.Repeat([]byte("x"), int(seq)*53%16000)...)
			frame := pack(seq, append(body, '"', '}'))
			for len(frame) > 0 { // records that end in the middle of a frame, of its header too
				n := 1 + int(seq)*37%(len(frame)+1)
				if n > len(frame) {
					n = len(frame)
				}
				if _, err := c.Write(frame[:n]); err != nil {
					log.Fatal(err)
				}
				frame = frame[n:]
			}
			answer(c, seq)
			frames++
		}
		if err := c.CloseWrite(); err != nil { // close_notify: the server says the same, and no more
			log.Fatal(err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			log.Fatalf("after close_notify: %q, %v", rest, err)
		}
		c.Close()
	}
	fmt.Printf("%d frames, %d resumed\n", frames, resumed)
}
