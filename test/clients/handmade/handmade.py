#!/usr/bin/env python3
"""A SCEP client made of Python's standard library and the openssl command.

It shares no code with the server or with any other client, and can be told to
behave as oddly as real clients do. It prints one line of JSON and writes
key.pem, cert.pem and cas.pem into --out. Exit codes: 0 SUCCESS, 3 PENDING,
4 FAILURE, 5 an HTTP status other than 200, 1 anything else, which includes a
reply that breaks a rule of RFC 8894 or that a real client would not accept.
"""

import argparse
import json
import pathlib
import secrets
import sys
import uuid

import der
import message
import openssl
import transport

STATUS = {"0": "SUCCESS", "2": "FAILURE", "3": "PENDING"}
EXIT = {"SUCCESS": 0, "PENDING": 3, "FAILURE": 4, "HTTP": 5}


class BadAnswer(Exception):
    """The server answered something that a client must not accept."""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--url", required=True)
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--tls-ca", help="the CA of the TLS server certificate (PEM)")
    p.add_argument("--ca-id", help="message= of GetCACaps and GetCACert")
    p.add_argument("--suffix", default="", help="appended to the path, such as /pkiclient.exe")
    p.add_argument("--lenient", action="store_true", help="report complaints about the reply without failing")
    http = p.add_argument_group("HTTP")
    http.add_argument("--method", choices=["POST", "GET"], default="POST")
    http.add_argument("--base64", choices=sorted(transport.BASE64_FORMS), default="standard")
    http.add_argument("--operation", default="PKIOperation")
    http.add_argument("--content-type", default="application/x-pki-message")
    http.add_argument("--raw", type=pathlib.Path, help="send the bytes of this file")
    http.add_argument("--twice", action="store_true", help="send the same bytes a second time, and expect the same certificate")
    csr = p.add_argument_group("CSR")
    csr.add_argument("--rdn", action="append", default=[], help="TYPE=VALUE, in the order of the subject")
    csr.add_argument("--key", type=pathlib.Path, help="an existing key")
    csr.add_argument("--key-bits", type=int, default=2048)
    csr.add_argument("--csr", choices=["hand", "openssl"], default="hand")
    csr.add_argument("--san", action="append", default=[], help="a dNSName to ask for")
    csr.add_argument("--challenge-file", type=pathlib.Path)
    csr.add_argument("--challenge-type", choices=sorted(der.STRING_TYPES), default="utf8")
    csr.add_argument("--second-challenge", help="another challengePassword beside the first")
    csr.add_argument("--bad-proof", action="store_true", help="break the signature of the CSR")
    env = p.add_argument_group("envelope")
    env.add_argument("--cipher", choices=sorted(openssl.CIPHERS), default="aes128")
    env.add_argument("--oaep", choices=["sha1", "sha256"])
    env.add_argument("--indefinite", action="store_true", help="indefinite lengths inside the envelope")
    env.add_argument("--recipient", type=pathlib.Path, help="encrypt to this certificate")
    env.add_argument("--tamper", choices=["key", "content", "random"], help="damage the envelope before it is signed")
    sig = p.add_argument_group("signature")
    sig.add_argument("--digest", choices=sorted(openssl.DIGESTS), default="sha256")
    sig.add_argument("--digest-signature-oid", action="store_true", help="sha*WithRSAEncryption, not rsaEncryption")
    sig.add_argument("--message-type", default="19")
    sig.add_argument("--transaction-id")
    sig.add_argument("--transaction-type", choices=["printable", "utf8", "ia5"], default="printable")
    sig.add_argument("--no-transaction-id", action="store_true")
    sig.add_argument("--nonce-bytes", type=int, default=16)
    sig.add_argument("--clock-offset", type=int, default=0, help="seconds added to signingTime")
    sig.add_argument("--no-signing-time", action="store_true")
    sig.add_argument("--wrong-digest", action="store_true")
    sig.add_argument("--ber", action="store_true", help="indefinite lengths and a split OCTET STRING outside")
    sig.add_argument("--signer-subject", help="default: CN=<random UUID>, as Apple does")
    sig.add_argument("--signer", type=pathlib.Path, help="the --out of an earlier enrolment, whose identity signs")
    sig.add_argument("--no-certificate", action="store_true")
    sig.add_argument("--extra-certificate", type=pathlib.Path)
    return p.parse_args()


class Enrolment:
    """One run: what was asked for, and everything made on the way."""

    def __init__(self, a):
        self.a, self.out = a, a.out
        self.out.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.server = transport.Server(a.url, a.suffix, a.tls_ca)
        self.complaints = []

    def complain(self, true, text):
        if not true:
            self.complaints.append(text)

    def fetch_cas(self):
        status, kind, body = self.server.get("GetCACaps", self.a.ca_id)
        self.complain(status == 200 and kind == "text/plain", f"GetCACaps: {status} {kind!r}")
        self.capabilities = body.decode().split("\n")
        status, kind, body = self.server.get("GetCACert", self.a.ca_id)
        if status != 200:
            raise BadAnswer(f"GetCACert: status {status}")
        if kind == "application/x-x509-ca-cert":
            self.cas = [openssl.certificate_pem(body)]
        elif kind == "application/x-x509-ca-ra-cert":
            self.cas = openssl.bundle_certificates(body)
        else:
            raise BadAnswer(f"GetCACert: Content-Type {kind!r}")
        (self.out / "cas.pem").write_text("".join(self.cas))

    def recipient(self):
        if self.a.recipient:
            return self.a.recipient
        chosen = next((c for c in self.cas if openssl.may_encipher_keys(c, self.out)), self.cas[0])
        path = self.out / "recipient.pem"
        path.write_text(chosen)
        return path

    def make_keys(self):
        self.key, self.signer_pem = self.a.key or self.out / "key.pem", self.out / "signer.pem"
        if not self.a.key:
            openssl.generate_key(self.key, self.a.key_bits)
        if self.a.signer:
            self.signer_key, self.signer_pem = self.a.signer / "key.pem", self.a.signer / "cert.pem"
        else:
            self.signer_key = self.key
            openssl.self_signed(self.key, self.a.signer_subject or f"/CN={uuid.uuid4()}", self.signer_pem)
        self.signer_der = openssl.run("x509", "-in", self.signer_pem, "-outform", "DER")

    def certification_request(self):
        a, rdns = self.a, [tuple(r.split("=", 1)) for r in self.a.rdn]
        challenge = a.challenge_file.read_text().strip() if a.challenge_file else None
        if a.csr == "openssl":
            return openssl.request_der(self.key, rdns, challenge, self.out)
        challenges = [] if challenge is None else [(a.challenge_type, challenge)]
        if a.second_challenge:
            challenges.append((a.challenge_type, a.second_challenge))
        return message.certification_request(self.key, rdns, challenges, a.san, a.bad_proof)

    def envelope(self):
        a = self.a
        made = openssl.encrypt(self.certification_request(), self.recipient(), a.cipher, a.oaep, a.indefinite)
        if a.tamper == "random":
            return secrets.token_bytes(len(made))
        if a.tamper == "content":
            return made[:-20] + bytes([made[-20] ^ 1]) + made[-19:]
        if a.tamper == "key":
            at = made.index(der.oid(openssl.CIPHERS[a.cipher][1])) - 60
            return made[:at] + bytes([made[at] ^ 1]) + made[at + 1:]
        return made

    def request(self):
        a = self.a
        transaction = a.transaction_id
        if transaction is None and not a.no_transaction_id:
            transaction = openssl.run("dgst", "-sha1", "-r", stdin=openssl.public_key(self.key)).split()[0].decode().upper()
        self.sent = message.Request(
            a.message_type, a.digest, transaction, a.transaction_type, a.nonce_bytes,
            None if a.no_signing_time else a.clock_offset, a.ber, a.digest_signature_oid, a.wrong_digest)
        certificates = [] if a.no_certificate else [self.signer_der]
        if a.extra_certificate:
            certificates.append(openssl.run("x509", "-in", a.extra_certificate, "-outform", "DER"))
        return self.sent.encode(self.envelope(), self.signer_der, self.signer_key, certificates)

    def send(self, raw):
        a = self.a
        status, kind, body = self.server.pki_operation(raw, a.method, a.base64, a.operation, a.content_type)
        if status != 200:
            return {"status": "HTTP", "http_status": status}
        self.complain(kind == "application/x-pki-message", f"Content-Type {kind!r}")
        return self.read(body)

    def read(self, body):
        """What a CertRep says, once its signature and its attributes are good."""
        content, signer = openssl.verify(body, self.out)
        reply = message.Reply(body)
        self.check_reply(reply, signer)
        result = {"status": STATUS.get(reply.text(message.PKI_STATUS), "?"),
                  "fail_info": reply.text(message.FAIL_INFO), "fail_info_text": reply.text(message.FAIL_INFO_TEXT)}
        if result["status"] == "SUCCESS":
            self.open(content)
        else:
            self.complain(content == b"", "a FAILURE or PENDING with content")
        return result

    def check_reply(self, reply, signer):
        digest = "sha256" if self.a.digest == "md5" else self.a.digest
        nonce = reply.attribute(message.SENDER_NONCE)
        echoed = reply.attribute(message.RECIPIENT_NONCE)
        for true, text in [
            (signer in self.cas, "signed by none of the certificates of GetCACert"),
            (len(reply.signers) == 1, "not exactly one signer"),
            (reply.version == 1, "version of the SignedData"),
            (reply.attributes_sorted, "attributes out of DER order"),
            (reply.digest == der.oid(openssl.DIGESTS[digest]), "another digest than the request's"),
            (reply.signature_algorithm == der.oid(message.RSA_ENCRYPTION), "signatureAlgorithm is not rsaEncryption"),
            (reply.text(message.MESSAGE_TYPE) == "3", "messageType is not CertRep"),
            (reply.text(message.TRANSACTION_ID) == self.sent.transaction_id, "another transactionID"),
            (nonce is not None and len(nonce.body) == 16, "no senderNonce of 16 bytes"),
            (nonce is None or nonce.body != self.sent.nonce, "the client's nonce as senderNonce"),
            ((echoed.body if echoed else b"") == self.sent.nonce, "recipientNonce is not the client's nonce"),
        ]:
            self.complain(true, text)

    def open(self, content):
        envelope = message.Envelope(content)
        self.complain(envelope.recipients == [message.identifier(self.signer_der)], "envelope not for the signer alone")
        self.complain(envelope.key_transport == [message.algorithm(message.RSA_ENCRYPTION)], "key transport")
        cipher = der.oid(openssl.CIPHERS[self.a.cipher][1])
        self.complain(envelope.cipher == cipher, "another cipher than the request's")
        bundle = openssl.decrypt(content, self.signer_pem, self.signer_key, legacy=envelope.cipher != cipher)
        self.complain(message.bundle_parts(bundle) == (1, 0), "not exactly one certificate in the bundle")
        issued = openssl.bundle_certificates(bundle)
        path = self.out / "cert.pem"
        if self.a.twice and path.exists():
            self.complain(path.read_text() == issued[0], "another certificate the second time")
        path.write_text(issued[0])
        if openssl.certificate_public_key(path) != openssl.public_key(self.key):
            raise BadAnswer("the certificate is for another key")

    def run(self):
        self.fetch_cas()
        self.make_keys()
        raw = self.a.raw.read_bytes() if self.a.raw else self.request()
        result = self.send(raw)
        if self.a.twice:
            result = self.send(raw)
        result["complaints"] = self.complaints
        result["capabilities"] = self.capabilities
        return result


def main():
    a = arguments()
    try:
        result = Enrolment(a).run()
    except (BadAnswer, der.DERError, openssl.Failed, OSError, ValueError) as e:
        print(json.dumps({"status": "ERROR", "error": f"{type(e).__name__}: {e}"}))
        return 1
    print(json.dumps(result))
    if result["complaints"] and not a.lenient:
        return 1
    return EXIT.get(result["status"], 1)


if __name__ == "__main__":
    sys.exit(main())
