package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path"
	"strconv"
	"time"
)

// resumable is an upload by tus that was begun.
type resumable struct {
	tenant     *tenant
	connection *connection
	at         *name
	path       string
	sent       image
}

// A client that was interrupted is back within this time.
const longestAbsence = 3 * time.Second

func (t *tenant) resumable(c *connection, at *name) answer {
	r, got := t.begin(c, at)
	if got.err != nil || got.status != 201 {
		return got
	}
	return r.finish(0, 2+rand.IntN(2))
}

func (t *tenant) resumed(c *connection, at *name) answer {
	r, offset, got := t.interrupted(c, at)
	if got.err != nil || got.status != 200 {
		return got
	}
	return r.finish(offset, 1)
}

func (t *tenant) terminated(c *connection, at *name) answer {
	r, _, got := t.interrupted(c, at)
	if got.err != nil || got.status != 200 {
		return got
	}
	return r.ask("DELETE", "", nil)
}

func (t *tenant) begin(c *connection, at *name) (resumable, answer) {
	r := resumable{tenant: t, connection: c, at: at, path: customerImages + "/tus/" + at.customer, sent: t.draw()}
	fields := fmt.Sprintf("Upload-Length: %d\r\nUpload-Metadata: filename %s\r\n",
		len(r.sent.bytes), base64.StdEncoding.EncodeToString([]byte(at.file)))
	got := r.ask("POST", fields, nil)
	location, err := (&url.URL{Path: r.path}).Parse(got.header.Get("Location"))
	if err != nil {
		return r, answer{err: err}
	}
	r.path = location.RequestURI()
	return r, got
}

// interrupted begins an upload, sends a half of it, leaves within the other, and comes back to ask how much
// has arrived.
func (t *tenant) interrupted(c *connection, at *name) (r resumable, offset int, got answer) {
	r, got = t.begin(c, at)
	if got.err != nil || got.status != 201 {
		return r, 0, got
	}
	half := len(r.sent.bytes) / 2
	if got = r.patch(0, half); got.err != nil || got.status != 204 {
		return r, 0, got
	}
	left := half + rand.IntN(half)
	c.breakOff(r.head("PATCH", patchFields(half), len(r.sent.bytes)-half), r.sent.bytes[half:left])
	time.Sleep(rand.N(longestAbsence))
	got = r.ask("HEAD", "", nil)
	offset, err := strconv.Atoi(got.header.Get("Upload-Offset"))
	if got.err == nil && got.status == 200 && (err != nil || offset < half || offset > left) {
		got.err = errors.New("upload-offset is not what was sent")
	}
	return r, offset, got
}

// finish sends what is missing in so many pieces.
func (r resumable) finish(offset, pieces int) answer {
	var got answer
	missing := len(r.sent.bytes) - offset
	for n := range pieces {
		got = r.patch(offset+missing*n/pieces, offset+missing*(n+1)/pieces)
		if got.err != nil || got.status != 204 {
			r.at.id = "" // perhaps it is there all the same
			return got
		}
	}
	return r.at.holds(path.Base(got.header.Get("Content-Location")), r.sent, got)
}

func (r resumable) patch(from, to int) answer {
	got := r.ask("PATCH", patchFields(from), r.sent.bytes[from:to])
	if got.err == nil && got.status == 204 && got.header.Get("Upload-Offset") != strconv.Itoa(to) {
		got.err = errors.New("upload-offset is not what was sent")
	}
	return got
}

func patchFields(offset int) string {
	return fmt.Sprintf("Content-Type: application/offset+octet-stream\r\nUpload-Offset: %d\r\n", offset)
}

func (r resumable) ask(method, fields string, body []byte) answer {
	return r.connection.exchange(r.head(method, fields, len(body)), body)
}

func (r resumable) head(method, fields string, length int) []byte {
	return r.tenant.head(method, r.path, "Tus-Resumable: 1.0.0\r\n"+fields, length)
}
