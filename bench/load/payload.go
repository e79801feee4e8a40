package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand"
)

// payload is one image, built once and sent by every upload: a JPEG head and one shared
// block of filler, repeated. Sending it costs the generator no work per byte.
type payload struct {
	chunks [][]byte
	size   int
}

const fillerSize = 1 << 20

func newPayload(size int) (payload, error) {
	head, tail := jpegHead(1200, 800), []byte{0xff, 0xd9}
	if size < len(head)+len(tail) {
		return payload{}, usageError(fmt.Sprintf("-size must be at least %d", len(head)+len(tail)))
	}
	filler := make([]byte, fillerSize)
	rand.New(rand.NewSource(1)).Read(filler)
	for i, b := range filler {
		if b == 0xff { // would be a marker
			filler[i] = 0
		}
	}
	p := payload{chunks: [][]byte{head}, size: size}
	for left := size - len(head) - len(tail); left > 0; left -= fillerSize {
		p.chunks = append(p.chunks, filler[:min(left, fillerSize)])
	}
	p.chunks = append(p.chunks, tail)
	return p, nil
}

func (p payload) sha256() string {
	hash := sha256.New()
	for _, chunk := range p.chunks {
		hash.Write(chunk)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// jpegHead is everything in front of a baseline JPEG's pixels, but for Huffman tables.
func jpegHead(width, height uint16) []byte {
	head := []byte{0xff, 0xd8} // SOI
	head = append(head, segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"))...)
	head = append(head, segment(0xdb, append([]byte{0}, make([]byte, 64)...))...) // one DQT
	frame := []byte{8, 0, 0, 0, 0, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0}
	binary.BigEndian.PutUint16(frame[1:], height)
	binary.BigEndian.PutUint16(frame[3:], width)
	head = append(head, segment(0xc0, frame)...)                                       // SOF0
	return append(head, segment(0xda, []byte{3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0})...) // SOS
}

func segment(marker byte, content []byte) []byte {
	out := []byte{0xff, marker, 0, 0}
	binary.BigEndian.PutUint16(out[2:], uint16(len(content)+2))
	return append(out, content...)
}
