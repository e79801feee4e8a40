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
	customers := u.flags.Bool("customers", false, "each upload below -url/CUSTOMER and for a tenant, as gatehouse's are")
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
		path, common := u.basePath, fmt.Sprintf("Host: %s\r\nTus-Resumable: 1.0.0\r\n", u.address)
		if *customers {
			path += u.customer(n)
			common += fmt.Sprintf("x-tenant-id: %s\r\n", u.tenant(n))
		}
		name := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("image-%d.jpg", n)))
		create := fmt.Sprintf("POST %s HTTP/1.1\r\n%sUpload-Length: %d\r\n"+
			"Upload-Metadata: filename %s,filetype aW1hZ2UvanBlZw==\r\n", path, common, u.payload.size, name)
		if !*patch {
			head := fmt.Sprintf("%s%sContent-Length: %d\r\n\r\n", create, body, u.payload.size)
			return complete(c.exchange(u.request([]byte(head))...))
		}
		created := c.exchange([]byte(create + "Content-Length: 0\r\n\r\n"))
		if created.err != nil || created.status != 201 {
			return created
		}
		location, err := (&url.URL{Path: path}).Parse(created.header.Get("Location")) // it may be relative
		if err != nil {
			return answer{err: err}
		}
		head := fmt.Sprintf("PATCH %s HTTP/1.1\r\n%sUpload-Offset: 0\r\n%sContent-Length: %d\r\n\r\n",
			location.RequestURI(), common, body, u.payload.size)
		return complete(c.exchange(u.request([]byte(head))...))
	})
}
