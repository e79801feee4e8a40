package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

const customerImages = "/consumer-api/service/consumers/customer-images"

// tenant is a client of gatehouse that has images under a bounded set of names, which it writes, reads and
// deletes over and over. With a name it does one thing at a time, so that it knows what each answer has to be.
type tenant struct {
	*service
	id    string
	names chan *name // those with which nothing is done at the moment
}

// service is where the requests go, and what the uploads send.
type service struct {
	address      string
	remote       string  // the path of a service behind the gateway, which answers as `load sink` does
	small, large []image // large ones come now and then, if there are any
}

// name is a place for an image, and what is there.
type name struct {
	customer, file string
	id             string // of the record; empty: nothing is there
	image          image
}

type image struct {
	bytes  []byte
	sha256 string
}

func newTenant(at *service, id string, names int) *tenant {
	t := &tenant{service: at, id: id, names: make(chan *name, names)}
	for n := range names {
		t.names <- &name{customer: fmt.Sprintf("customer-%d", n%4), file: fmt.Sprintf("image-%d.jpg", n)}
	}
	return t
}

// newImages makes count images; their sizes differ by a byte, which tells them apart.
func newImages(size, count int) ([]image, error) {
	images := make([]image, count)
	for n := range images {
		p, err := newPayload(size + n)
		if err != nil {
			return nil, err
		}
		images[n] = image{bytes.Join(p.chunks, nil), p.sha256()}
	}
	return images, nil
}

// draw takes a large image one time in 25.
func (s *service) draw() image {
	if len(s.large) > 0 && rand.IntN(25) == 0 {
		return s.large[rand.IntN(len(s.large))]
	}
	return s.small[rand.IntN(len(s.small))]
}

// part is as much of an image as a client has sent when it leaves.
func (i image) part() []byte { return i.bytes[:rand.IntN(len(i.bytes))] }

// head is a request's line and its fields, to the tenant's images or, where path says so, elsewhere.
func (t *tenant) head(method, path, fields string, length int) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nx-tenant-id: %s\r\n%sContent-Length: %d\r\n\r\n",
		method, path, t.address, t.id, fields, length)
}

// --- uploads ---------------------------------------------------------------------------

func (t *tenant) rawHead(at *name, of image) []byte {
	return t.head("PUT", customerImages+"/upload/"+at.customer+"/"+at.file, "Content-Type: image/jpeg\r\n", len(of.bytes))
}

func (t *tenant) raw(c *connection, at *name) answer {
	sent := t.draw()
	return at.created(c.exchange(t.rawHead(at, sent), sent.bytes), sent)
}

func (t *tenant) rawBrokenOff(c *connection, at *name) answer {
	sent := t.draw()
	return c.breakOff(t.rawHead(at, sent), sent.part())
}

var formEnd = []byte("\r\n--" + boundary + "--\r\n")

func (t *tenant) formHead(at *name, of image) []byte {
	part := fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n"+
		"Content-Type: image/jpeg\r\n\r\n", boundary, at.file)
	head := t.head("POST", customerImages+"/upload/"+at.customer,
		"Content-Type: multipart/form-data; boundary="+boundary+"\r\n", len(part)+len(of.bytes)+len(formEnd))
	return append(head, part...)
}

func (t *tenant) form(c *connection, at *name) answer {
	sent := t.draw()
	return at.created(c.exchange(t.formHead(at, sent), sent.bytes, formEnd), sent)
}

func (t *tenant) formBrokenOff(c *connection, at *name) answer {
	sent := t.draw()
	return c.breakOff(t.formHead(at, sent), sent.part())
}

// created takes the answer to an upload. If it says that the image is there, it is from now on; if
// it does not, nobody can say what is.
func (n *name) created(got answer, sent image) answer {
	var record struct{ ID, SHA256 string }
	switch {
	case got.err != nil || got.status != 201:
	case json.Unmarshal(got.body, &record) != nil || record.SHA256 != sent.sha256:
		got.err = errors.New("the record is of other bytes")
	default:
		return n.holds(record.ID, sent, got)
	}
	n.id = ""
	return got
}

func (n *name) holds(id string, sent image, got answer) answer {
	if n.id != "" && n.id != id {
		got.err = errors.New("a replaced image has another id")
	}
	n.id, n.image = id, sent
	return got
}

// --- what is there -----------------------------------------------------------------------

func (t *tenant) contentHead(at *name, fields string) []byte {
	return t.head("GET", imagesPath+"/"+at.id+"/content", fields, 0)
}

func (t *tenant) content(c *connection, at *name) answer {
	got := c.exchange(t.contentHead(at, ""))
	if got.err == nil && got.status == 200 && !bytes.Equal(got.body, at.image.bytes) {
		got.err = errors.New("wrong bytes")
	}
	return got
}

func (t *tenant) contentBrokenOff(c *connection, at *name) answer {
	return c.breakOff(t.contentHead(at, ""))
}

func (t *tenant) contentRange(c *connection, at *name) answer {
	size := len(at.image.bytes)
	from := rand.IntN(size)
	to := from + rand.IntN(size-from)
	got := c.exchange(t.contentHead(at, fmt.Sprintf("Range: bytes=%d-%d\r\n", from, to)))
	whole := got.header.Get("Content-Range") == fmt.Sprintf("bytes %d-%d/%d", from, to, size) &&
		bytes.Equal(got.body, at.image.bytes[from:to+1])
	if got.err == nil && got.status == 206 && !whole {
		got.err = errors.New("wrong bytes")
	}
	return got
}

func (t *tenant) record(c *connection, at *name) answer {
	got := c.exchange(t.head("GET", imagesPath+"/"+at.id, "", 0))
	var record struct {
		SHA256 string
		Size   int
	}
	if got.err == nil && got.status == 200 &&
		(json.Unmarshal(got.body, &record) != nil || record.SHA256 != at.image.sha256 || record.Size != len(at.image.bytes)) {
		got.err = errors.New("the record is of other bytes")
	}
	return got
}

func (t *tenant) list(c *connection, _ *name) answer {
	got := c.exchange(t.head("GET", imagesPath+"?limit=50", "", 0))
	if got.err != nil || got.status != 200 {
		return got
	}
	var list struct{ Images []struct{ StoredName string } }
	if err := json.Unmarshal(got.body, &list); err != nil {
		got.err = err
	}
	for _, listed := range list.Images {
		if !strings.HasPrefix(listed.StoredName, t.id+"/") {
			got.err = errors.New("the list has an image of another tenant")
		}
	}
	return got
}

func (t *tenant) remove(c *connection, at *name) answer {
	got := c.exchange(t.head("DELETE", imagesPath+"/"+at.id, "", 0))
	at.id = ""
	return got
}

// --- the service behind the gateway --------------------------------------------------------

func (t *tenant) remoteGet(c *connection, _ *name) answer {
	return fromSink(c.exchange(t.head("GET", t.remote, "", 0)))
}

func (t *tenant) remotePost(c *connection, _ *name) answer {
	sent := t.draw()
	return fromSink(c.exchange(t.head("POST", t.remote, "", len(sent.bytes)), sent.bytes))
}

func (t *tenant) remotePostBrokenOff(c *connection, _ *name) answer {
	sent := t.draw()
	return c.breakOff(t.head("POST", t.remote, "", len(sent.bytes)), sent.part())
}

func fromSink(got answer) answer {
	if got.err == nil && got.status == 200 && !strings.HasSuffix(sinkAnswer, "\r\n\r\n"+string(got.body)) {
		got.err = errors.New("wrong bytes")
	}
	return got
}
