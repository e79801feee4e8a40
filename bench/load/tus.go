package main

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
)

func uploadTus(arguments []string) error {
	u := newUploads("tus", "http://127.0.0.1:8080/files/")
	patch := u.flags.Bool("patch", false, "create, then PATCH, instead of creation-with-upload (one request)")
	if err := u.parse(arguments); err != nil {
		return err
	}
	const body = "Content-Type: application/offset+octet-stream\r\n"
	complete := func(got answer) answer {
		if got.err == nil && got.status < 300 && got.header.Get("Upload-Offset") != strconv.Itoa(u.payload.size) {
			got.err = fmt.Errorf("upload-offset is not the size")
		}
		return got
	}
	return u.measure(func(c *connection, n int) answer {
		name := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("image-%d.jpg", n)))
		create := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nUpload-Length: %d\r\n"+
			"Upload-Metadata: filename %s,filetype aW1hZ2UvanBlZw==\r\n", u.basePath, u.address, u.payload.size, name)
		if !*patch {
			head := fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n", create, body, u.payload.size)
			return complete(c.exchange(u.request([]byte(head))...))
		}
		created := c.exchange([]byte(create + "Content-Length: 0\r\n\r\n"))
		if created.err != nil || created.status != 201 {
			return created
		}
		location, err := url.Parse(created.header.Get("Location"))
		if err != nil {
			return answer{err: err}
		}
		head := fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"+
			"%sContent-Length: %d\r\n\r\n", location.RequestURI(), u.address, body, u.payload.size)
		return complete(c.exchange(u.request([]byte(head))...))
	})
}
