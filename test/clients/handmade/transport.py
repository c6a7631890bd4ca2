"""HTTP as SCEP clients speak it, with every habit of encoding that was seen in the field."""

import base64
import http.client
import ssl
import urllib.parse

# How a message becomes the value of `message=` in a GET (RFC 8894 section 4.1
# allows only the first).
BASE64_FORMS = {
    "standard": lambda b: urllib.parse.quote(std(b), safe=""),
    "raw-plus": lambda b: std(b).replace("/", "%2F").replace("=", "%3D"),
    "raw": lambda b: std(b),
    "urlsafe": lambda b: base64.urlsafe_b64encode(b).decode(),
    "urlsafe-nopad": lambda b: base64.urlsafe_b64encode(b).decode().rstrip("="),
    "nopad": lambda b: urllib.parse.quote(std(b).rstrip("="), safe=""),
    "newline": lambda b: urllib.parse.quote(std(b) + "\n", safe=""),
    "lines": lambda b: urllib.parse.quote("\n".join(columns(std(b))), safe=""),
    "spaces": lambda b: urllib.parse.quote(std(b).replace("+", " "), safe=""),
    "lower": lambda b: lower_escapes(urllib.parse.quote(std(b), safe="")),
}


def std(data):
    return base64.b64encode(data).decode()


def columns(text):
    return [text[i:i + 64] for i in range(0, len(text), 64)]


def lower_escapes(text):
    for escape in ("%2B", "%2F", "%3D"):
        text = text.replace(escape, escape.lower())
    return text


class Server:
    """A SCEP URL."""

    def __init__(self, url, suffix="", tls_ca=None, timeout=60):
        self.url = urllib.parse.urlsplit(url)
        self.path = self.url.path + suffix
        self.timeout = timeout
        self.tls = ssl.create_default_context(cafile=tls_ca) if self.url.scheme == "https" else None

    def request(self, method, query, body=None, content_type=None):
        """One exchange on a connection of its own: status, Content-Type, body."""
        host, port = self.url.hostname, self.url.port
        if self.tls:
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        try:
            headers = {"Content-Type": content_type} if content_type else {}
            target = self.path + ("?" + query if query else "")
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read()
        finally:
            connection.close()

    def get(self, operation, message=None):
        query = "operation=" + operation
        if message is not None:
            query += "&message=" + urllib.parse.quote(message, safe="")
        return self.request("GET", query)

    def pki_operation(self, message, method, form, operation, content_type):
        query = "operation=" + operation if operation else ""
        if method == "POST":
            return self.request("POST", query, message, content_type)
        return self.request("GET", query + "&message=" + BASE64_FORMS[form](message))
