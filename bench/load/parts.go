package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// uploadParts makes a multipart upload straight to the store, up to two parts on their way at a
// time: what is left for a gateway that neither reads, hashes nor buffers anything. No gateway
// that stores in parts can be faster.
type uploadParts struct {
	keys     signer
	address  string
	partSize int
}

var uploadIDElement = regexp.MustCompile(`<UploadId>([^<]+)</UploadId>`)

func (u uploadParts) send(c *connection, path string, image payload) answer {
	created := u.call(c, "POST", path, "uploads=", "")
	if created.err != nil || created.status != http.StatusOK {
		return created
	}
	id := uploadIDElement.FindSubmatch(created.body)
	if id == nil {
		return answer{err: fmt.Errorf("no UploadId")}
	}
	parts := image.cut(u.partSize)
	answers := make([]answer, len(parts))
	lane := func(c *connection, first int) {
		for i := first; i < len(parts); i += 2 {
			query := fmt.Sprintf("partNumber=%d&uploadId=%s", i+1, id[1])
			answers[i] = u.call(c, "PUT", path, query, "", parts[i]...)
		}
	}
	if c.second == nil {
		c.second = &connection{address: c.address, timeout: c.timeout}
	}
	done := make(chan struct{})
	go func() { lane(c.second, 1); close(done) }()
	lane(c, 0)
	<-done
	var list strings.Builder
	for i, got := range answers {
		if got.err != nil || got.status != http.StatusOK {
			return got
		}
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, got.header.Get("ETag"))
	}
	body := "<CompleteMultipartUpload>" + list.String() + "</CompleteMultipartUpload>"
	return u.call(c, "POST", path, fmt.Sprintf("uploadId=%s", id[1]), "Content-Type: application/xml\r\n", []byte(body))
}

func (u uploadParts) call(c *connection, method, path, query, fields string, body ...[]byte) answer {
	date, authorization := u.keys.sign(time.Now(), method, path, query, u.address, unsignedPayload)
	length := 0
	for _, piece := range body {
		length += len(piece)
	}
	head := fmt.Sprintf("%s %s?%s HTTP/1.1\r\nHost: %s\r\nx-amz-date: %s\r\nx-amz-content-sha256: %s\r\n"+
		"Authorization: %s\r\n%sContent-Length: %d\r\n\r\n",
		method, path, query, u.address, date, unsignedPayload, authorization, fields, length)
	return c.exchange(append([][]byte{[]byte(head)}, body...)...)
}

// cut splits the image into parts of size bytes, the last one what is left.
func (p payload) cut(size int) (parts [][][]byte) {
	var part [][]byte
	room := size
	for _, chunk := range p.chunks {
		for len(chunk) > 0 {
			n := min(len(chunk), room)
			part, chunk, room = append(part, chunk[:n]), chunk[n:], room-n
			if room == 0 {
				parts, part, room = append(parts, part), nil, size
			}
		}
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}
