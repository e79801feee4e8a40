package main

import "fmt"

const boundary = "------------------------gatehousebench01"

func uploadGatehouse(arguments []string) error {
	u := newUploads("gatehouse", "http://127.0.0.1:3000")
	raw := u.flags.Bool("raw", false, "PUT the bytes as the body instead of multipart")
	if err := u.parse(arguments); err != nil {
		return err
	}
	base := u.basePath + "/consumer-api/service/consumers/customer-images/upload/"
	if *raw {
		return u.measure(func(c *connection, n int) answer {
			head := fmt.Sprintf("PUT %s%s/image-%d.jpg HTTP/1.1\r\nHost: %s\r\nx-tenant-id: %s\r\n"+
				"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n",
				base, u.customer(n), n, u.address, u.tenant(n), u.payload.size)
			return c.exchange(u.request([]byte(head))...)
		})
	}
	closing := []byte("\r\n--" + boundary + "--\r\n")
	return u.measure(func(c *connection, n int) answer {
		part := fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"image-%d.jpg\"\r\n"+
			"Content-Type: image/jpeg\r\n\r\n", boundary, n)
		head := fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: %s\r\nx-tenant-id: %s\r\n"+
			"Content-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n",
			base, u.customer(n), u.address, u.tenant(n), boundary, len(part)+u.payload.size+len(closing))
		return c.exchange(u.request([]byte(head+part), closing)...)
	})
}
