package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// uploadDirect asks gatehouse for each upload, sends its bytes to the store by the signed request
// that it answers with, and completes it.
func uploadDirect(arguments []string) error {
	u := newUploads("direct", "http://127.0.0.1:3000")
	declared := u.flags.Bool("sha256", false, "declare the image's SHA-256, which the store then verifies")
	if err := u.parse(arguments); err != nil {
		return err
	}
	digest := ""
	if *declared {
		digest = fmt.Sprintf(`,"sha256":"%s"`, u.payload.sha256()) // once: every upload sends the same bytes
	}
	base := u.basePath + "/consumer-api/service/consumers/customer-images/direct-uploads/"
	return u.measure(func(c *connection, n int) answer {
		ask := func(path, body string) answer {
			head := fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: %s\r\nx-tenant-id: %s\r\n"+
				"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
				base, path, u.address, u.tenant(n), len(body))
			return c.exchange([]byte(head), []byte(body))
		}
		begun := ask(u.customer(n), fmt.Sprintf(`{"fileName":"image-%d.jpg","contentType":"image/jpeg","size":%d%s}`,
			n, u.payload.size, digest))
		if begun.err != nil || begun.status != http.StatusCreated {
			return begun
		}
		var direct signedUpload
		if err := json.Unmarshal(begun.body, &direct); err != nil {
			return answer{err: err}
		}
		if sent := direct.send(c, u.payload, *u.timeout); sent.err != nil || sent.status >= 300 {
			return sent
		}
		return ask(direct.UploadID+"/complete", "")
	})
}

// signedUpload is how gatehouse tells a client to send the bytes.
type signedUpload struct {
	UploadID, Method, URL string
	Headers               map[string]string
}

// send goes to the store over a connection of its own.
func (s signedUpload) send(c *connection, image payload, timeout time.Duration) answer {
	target, err := url.Parse(s.URL)
	if err != nil || target.Host == "" {
		return answer{err: fmt.Errorf("no URL to send %d bytes to: more than one part?", image.size)}
	}
	if c.second == nil {
		c.second = &connection{address: target.Host, timeout: timeout}
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n",
		s.Method, target.RequestURI(), target.Host, image.size)
	for name, value := range s.Headers {
		if !strings.EqualFold(name, "Content-Length") && !strings.EqualFold(name, "Host") {
			head += fmt.Sprintf("%s: %s\r\n", name, value)
		}
	}
	return c.second.exchange(append([][]byte{[]byte(head + "\r\n")}, image.chunks...)...)
}
