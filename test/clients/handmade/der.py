"""DER by hand: just enough to write a SCEP request and to read a reply.

Nothing here knows SCEP. Reading is strict: a reply with an indefinite length
or a superfluous length byte raises DERError, since every writer of a reply is
expected to write DER.
"""

import datetime

INTEGER, OCTET_STRING, NULL, OID, UTF8 = 0x02, 0x04, 0x05, 0x06, 0x0C
PRINTABLE, TELETEX, IA5, UTC_TIME, GENERALIZED_TIME, BMP = 0x13, 0x14, 0x16, 0x17, 0x18, 0x1E
SEQUENCE, SET = 0x30, 0x31

STRING_TYPES = {
    "utf8": (UTF8, "utf-8"),
    "printable": (PRINTABLE, "ascii"),
    "ia5": (IA5, "ascii"),
    "teletex": (TELETEX, "latin-1"),
    "bmp": (BMP, "utf-16-be"),
}


class DERError(Exception):
    """The bytes are not DER."""


def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    if n < 0x80:
        return bytes([tag, n]) + body
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def indefinite(tag, *parts):
    """The BER form of a constructed value, ended by two zero octets."""
    return bytes([tag | 0x20, 0x80]) + b"".join(parts) + b"\x00\x00"


def sequence(*parts):
    return tlv(SEQUENCE, *parts)


def set_of(*parts):
    return tlv(SET, *sorted(parts))


def octets(value):
    return tlv(OCTET_STRING, value)


def null():
    return b"\x05\x00"


def integer(value):
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def string(kind, text):
    tag, encoding = STRING_TYPES[kind]
    return tlv(tag, text.encode(encoding))


def oid(dotted):
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = bytearray()
    for arc in [first * 40 + second, *rest]:
        groups = [arc & 0x7F]
        while arc > 0x7F:
            arc >>= 7
            groups.append(0x80 | (arc & 0x7F))
        body += bytes(reversed(groups))
    return tlv(OID, bytes(body))


def time(when):
    """A UTCTime or, from 2050 on, a GeneralizedTime (RFC 5652 section 11.3)."""
    when = when.astimezone(datetime.timezone.utc)
    if 1950 <= when.year < 2050:
        return tlv(UTC_TIME, when.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, when.strftime("%Y%m%d%H%M%SZ").encode())


class Node:
    """One value that was read: its tag, its content and its whole encoding."""

    def __init__(self, tag, body, raw):
        self.tag, self.body, self.raw = tag, body, raw

    def children(self):
        nodes, at = [], 0
        while at < len(self.body):
            node = read(self.body, at)
            nodes.append(node)
            at += len(node.raw)
        return nodes

    def expect(self, tag):
        if self.tag != tag:
            raise DERError(f"tag {self.tag:#x} where {tag:#x} was expected")
        return self

    def text(self):
        encoding = "utf-16-be" if self.tag == BMP else "utf-8"
        return self.body.decode(encoding)


def read(data, at=0):
    """The value that begins at data[at]."""
    if len(data) - at < 2:
        raise DERError("truncated header")
    tag, n, body = data[at], data[at + 1], at + 2
    if n == 0x80:
        raise DERError("indefinite length")
    if n > 0x80:
        size = n & 0x7F
        n, body = int.from_bytes(data[body:body + size], "big"), body + size
        if n < 0x80 or n.bit_length() <= 8 * (size - 1):
            raise DERError("length not in its shortest form")
    if body + n > len(data):
        raise DERError("truncated content")
    return Node(tag, data[body:body + n], data[at:body + n])


def read_all(data):
    """The one value that fills data."""
    node = read(data)
    if len(node.raw) != len(data):
        raise DERError("bytes after the value")
    return node
