package server

import (
	"crypto/md5" //nolint:gosec // the thumbprint that the page shows, as NDES does
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"understudy.example/understudy/configuration"
)

// The texts of Windows' page. Programs look for them to the letter: one space
// on either side of a value, two before "Please".
const (
	pageHead = `<HTML><Head><Meta HTTP-Equiv="Content-Type" Content="text/html; charset=UTF-8"><Title>Network Device Enrollment Service</Title></Head>` +
		`<Body BgColor="#FFFFFF"><Font ID="locPageFont" Face="Arial"><Font ID="locPageTitle" Size="+1"><B>Network Device Enrollment Service</B></Font>` +
		"<P> Network Device Enrollment Service allows you to obtain certificates for routers or other network devices using the Simple Certificate Enrollment Protocol (SCEP). </P>"
	pageTail  = "</Font></Body></HTML>"
	pageValue = "<P> To complete certificate enrollment for your network device you will need the following information: </P>" +
		"<P> The thumbprint (hash value) for the CA certificate is: <B> %s </B> </P>" +
		"<P> The enrollment challenge password is: <B> %s </B> </P>" +
		"<P> This password can be used only once and will expire within %d minutes. <P> Each enrollment requires a new challenge password. You can refresh this web page to obtain a new challenge password. </P>"
	pageFull = "<P> The password cache is full. <P> Network Device Enrollment Service stores unused password for later use. By default, passwords are stored for %d minutes." +
		" <P> Use one of the existing passwords. If you cannot use an existing password, wait until one of them expires, or configure the service to cache more than %d passwords. </P>"
	pageDenied = "<P> You do not have sufficient permission to enroll with SCEP.  Please contact your system administrator. </P>"
)

// challengePage is the page that shows a challenge.
func challengePage(form string, issuer []byte, challenge string, ttl time.Duration) response {
	return pageOf(form, fmt.Sprintf(pageValue, thumbprint(issuer), challenge, minutes(ttl)))
}

// fullPage says that there are too many challenges that nobody has used.
func fullPage(form string, most int, ttl time.Duration) response {
	return pageOf(form, fmt.Sprintf(pageFull, minutes(ttl), most))
}

// deniedPage says that whoever asks may not have a challenge. Like real NDES
// it is no error of HTTP.
func deniedPage(form string) response { return pageOf(form, pageDenied) }

// pageOf makes a page in one of the forms. Neither is read by every program:
// some take UTF-8 only, others UTF-16LE only, and none wants a byte order mark.
func pageOf(form, content string) response {
	body := []byte(pageHead + content + pageTail)
	contentType := "text/html; charset=utf-8"
	if form == configuration.PageNDES {
		body, contentType = utf16LE(string(body)), "text/html"
	}
	return response{status: 200, contentType: contentType, body: body}
}

// minutes rounds up: what is left of a minute is shown as one.
func minutes(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) }

// thumbprint is the MD5 of a certificate in groups of eight digits.
func thumbprint(der []byte) string {
	sum := md5.Sum(der) //nolint:gosec // see above
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	return digits[:8] + " " + digits[8:16] + " " + digits[16:24] + " " + digits[24:]
}

func utf16LE(text string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}
