"""The SCEP messages of RFC 8894 section 3: a request as bytes, a reply as facts."""

import datetime
import secrets

import der
import openssl

DATA, SIGNED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2"
RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
WITH_RSA = {
    "md5": "1.2.840.113549.1.1.4", "sha1": "1.2.840.113549.1.1.5", "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12", "sha512": "1.2.840.113549.1.1.13",
}
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = ("1.2.840.113549.1.9.%d" % n for n in (3, 4, 5))
CHALLENGE_PASSWORD, EXTENSION_REQUEST = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14"
SUBJECT_ALT_NAME = "2.5.29.17"
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    "2.16.840.1.113733.1.9.%d" % n for n in (2, 3, 4, 5, 6, 7))
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
NAME_TYPES = {
    "CN": "2.5.4.3", "SERIALNUMBER": "2.5.4.5", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8",
    "O": "2.5.4.10", "OU": "2.5.4.11", "UID": "0.9.2342.19200300.100.1.1", "DC": "0.9.2342.19200300.100.1.25",
}


def attribute(kind, *values):
    return der.sequence(der.oid(kind), der.set_of(*values))


def algorithm(dotted):
    return der.sequence(der.oid(dotted), der.null())


def name(rdns):
    parts = []
    for kind, value in rdns:
        text = der.string("ia5" if kind == "DC" else "utf8", value)
        parts.append(der.set_of(der.sequence(der.oid(NAME_TYPES.get(kind, kind)), text)))
    return der.sequence(*parts)


def certification_request(key, rdns, challenges, dns_names, broken=False):
    """A PKCS #10 request; challenges is a list of (string type, text)."""
    attributes = []
    for kind, text in challenges:
        attributes.append(attribute(CHALLENGE_PASSWORD, der.string(kind, text)))
    if dns_names:
        names = der.sequence(*(der.tlv(0x82, n.encode()) for n in dns_names))
        extension = der.sequence(der.oid(SUBJECT_ALT_NAME), der.octets(names))
        attributes.append(attribute(EXTENSION_REQUEST, der.sequence(extension)))
    info = der.sequence(der.integer(0), name(rdns), openssl.public_key(key),
                        der.tlv(0xA0, *sorted(attributes)))
    signature = bytearray(openssl.sign(key, "sha256", info))
    if broken:
        signature[-1] ^= 1
    return der.sequence(info, algorithm(WITH_RSA["sha256"]), der.tlv(0x03, b"\x00", bytes(signature)))


def identifier(certificate_der):
    """IssuerAndSerialNumber of a certificate, copied byte for byte."""
    fields = der.read_all(certificate_der).children()[0].children()
    if fields[0].tag == 0xA0:
        fields = fields[1:]
    serial, issuer = fields[0].expect(der.INTEGER), fields[2].expect(der.SEQUENCE)
    return der.sequence(issuer.raw, serial.raw)


class Request:
    """What goes into the signed attributes of a request, and how it is signed."""

    def __init__(self, message_type="19", digest="sha256", transaction_id=None, transaction_type="printable",
                 nonce_bytes=16, clock_offset=0, ber=False, digest_signature_oid=False, wrong_digest=False):
        self.message_type, self.digest = message_type, digest
        self.transaction_id, self.transaction_type = transaction_id, transaction_type
        self.nonce = secrets.token_bytes(nonce_bytes)
        self.clock_offset = clock_offset  # seconds, or None for no signingTime
        self.ber, self.digest_signature_oid, self.wrong_digest = ber, digest_signature_oid, wrong_digest

    def attributes(self, content):
        digest = openssl.run("dgst", "-" + self.digest, "-binary", stdin=content)
        if self.wrong_digest:
            digest = bytes([digest[0] ^ 1]) + digest[1:]
        out = [attribute(CONTENT_TYPE, der.oid(DATA)), attribute(MESSAGE_DIGEST, der.octets(digest))]
        if self.message_type:
            out.append(attribute(MESSAGE_TYPE, der.string("printable", self.message_type)))
        if self.transaction_id is not None:
            out.append(attribute(TRANSACTION_ID, der.string(self.transaction_type, self.transaction_id)))
        if self.nonce:
            out.append(attribute(SENDER_NONCE, der.octets(self.nonce)))
        if self.clock_offset is not None:
            now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.clock_offset)
            out.append(attribute(SIGNING_TIME, der.time(now)))
        return sorted(out)

    def encode(self, content, signer_der, signer_key, certificates):
        """The pkiMessage: content signed by signer_key, with these certificates inside."""
        attributes = self.attributes(content)
        signature = openssl.sign(signer_key, self.digest, der.tlv(der.SET, *attributes))
        digest = algorithm(openssl.DIGESTS[self.digest])
        signed_by = algorithm(WITH_RSA[self.digest] if self.digest_signature_oid else RSA_ENCRYPTION)
        signer = der.sequence(der.integer(1), identifier(signer_der), digest, der.tlv(0xA0, *attributes),
                              signed_by, der.octets(signature))
        tail = [der.tlv(0xA0, *certificates)] if certificates else []
        tail.append(der.set_of(signer))
        if not self.ber:
            inner = der.sequence(der.oid(DATA), der.tlv(0xA0, der.octets(content)))
            signed = der.sequence(der.integer(1), der.set_of(digest), inner, *tail)
            return der.sequence(der.oid(SIGNED_DATA), der.tlv(0xA0, signed))
        half = len(content) // 2
        text = der.indefinite(der.OCTET_STRING, der.octets(content[:half]), der.octets(content[half:]))
        inner = der.indefinite(der.SEQUENCE, der.oid(DATA), der.indefinite(0xA0, text))
        signed = der.indefinite(der.SEQUENCE, der.integer(1), der.set_of(digest), inner, *tail)
        return der.indefinite(der.SEQUENCE, der.oid(SIGNED_DATA), der.indefinite(0xA0, signed))


class Reply:
    """A CertRep, taken apart. It checks its own shape, not what it should answer."""

    def __init__(self, raw):
        kind, wrapped = der.read_all(raw).children()
        if kind.raw != der.oid(SIGNED_DATA):
            raise der.DERError("not a SignedData")
        version, _, content, certificates, signers = wrapped.children()[0].children()
        self.version = int.from_bytes(version.body, "big")
        self.content = content.children()[1].children()[0].expect(der.OCTET_STRING).body
        self.certificates = [node.raw for node in certificates.expect(0xA0).children()]
        self.signers = signers.expect(der.SET).children()
        _, self.signer_id, digest, attributes, signed_by, _ = self.signers[0].children()
        self.digest = digest.children()[0].raw
        self.signature_algorithm = signed_by.children()[0].raw
        self.attributes, self.attributes_sorted = {}, True
        nodes = attributes.expect(0xA0).children()
        self.attributes_sorted = [n.raw for n in nodes] == sorted(n.raw for n in nodes)
        for node in nodes:
            key, values = node.children()
            if key.raw in self.attributes:
                raise der.DERError("an attribute twice")
            self.attributes[key.raw] = values.expect(der.SET).children()

    def attribute(self, dotted):
        """The single value of an attribute, or None."""
        values = self.attributes.get(der.oid(dotted))
        if values is None:
            return None
        if len(values) != 1:
            raise der.DERError("an attribute with several values")
        return values[0]

    def text(self, dotted):
        node = self.attribute(dotted)
        return None if node is None else node.text()


class Envelope:
    """An EnvelopedData: to whom, and with which ciphers."""

    def __init__(self, raw):
        fields = der.read_all(raw).children()[1].children()[0].children()
        self.recipients = [node.children()[1].raw for node in fields[1].children()]
        self.key_transport = [node.children()[2].raw for node in fields[1].children()]
        self.cipher = fields[2].children()[1].children()[0].raw


def bundle_parts(raw):
    """How many certificates and CRLs a certs-only SignedData holds."""
    fields = der.read_all(raw).children()[1].children()[0].children()
    count = {0xA0: 0, 0xA1: 0}
    for node in fields:
        if node.tag in count:
            count[node.tag] = len(node.children())
    return count[0xA0], count[0xA1]
