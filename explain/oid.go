package explain

import (
	"crypto/x509"
	"fmt"
)

// Object identifiers that decide something here. All the others only have
// names.
const (
	oidData          = "1.2.840.113549.1.7.1"
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidEnvelopedData = "1.2.840.113549.1.7.3"
	oidAuthEnveloped = "1.2.840.113549.1.9.16.1.23"

	oidContentType   = "1.2.840.113549.1.9.3"
	oidMessageDigest = "1.2.840.113549.1.9.4"
	oidSigningTime   = "1.2.840.113549.1.9.5"

	oidMessageType    = "2.16.840.1.113733.1.9.2"
	oidPKIStatus      = "2.16.840.1.113733.1.9.3"
	oidFailInfo       = "2.16.840.1.113733.1.9.4"
	oidSenderNonce    = "2.16.840.1.113733.1.9.5"
	oidRecipientNonce = "2.16.840.1.113733.1.9.6"
	oidTransactionID  = "2.16.840.1.113733.1.9.7"
	oidFailInfoText   = "1.3.6.1.5.5.7.24.1"

	oidChallengePassword = "1.2.840.113549.1.9.7"
	oidExtensionRequest  = "1.2.840.113549.1.9.14"
	oidMSExtensions      = "1.3.6.1.4.1.311.2.1.14"

	oidRSA     = "1.2.840.113549.1.1.1"
	oidOAEP    = "1.2.840.113549.1.1.7"
	oidPSS     = "1.2.840.113549.1.1.10"
	oidEC      = "1.2.840.10045.2.1"
	oidEd25519 = "1.3.101.112"

	oidDES       = "1.3.14.3.2.7"
	oid3DES      = "1.2.840.113549.3.7"
	oidAES128    = "2.16.840.1.101.3.4.1.2"
	oidAES192    = "2.16.840.1.101.3.4.1.22"
	oidAES256    = "2.16.840.1.101.3.4.1.42"
	oidAES128GCM = "2.16.840.1.101.3.4.1.6"
	oidAES192GCM = "2.16.840.1.101.3.4.1.26"
	oidAES256GCM = "2.16.840.1.101.3.4.1.46"

	oidSubjectKeyID      = "2.5.29.14"
	oidKeyUsage          = "2.5.29.15"
	oidSubjectAltName    = "2.5.29.17"
	oidBasicConstraints  = "2.5.29.19"
	oidCRLNumber         = "2.5.29.20"
	oidReasonCode        = "2.5.29.21"
	oidInvalidityDate    = "2.5.29.24"
	oidDeltaCRL          = "2.5.29.27"
	oidCRLDistribution   = "2.5.29.31"
	oidAuthorityKeyID    = "2.5.29.35"
	oidExtKeyUsage       = "2.5.29.37"
	oidAuthorityInfo     = "1.3.6.1.5.5.7.1.1"
	oidClientAuth        = "1.3.6.1.5.5.7.3.2"
	oidOCSPSigning       = "1.3.6.1.5.5.7.3.9"
	oidOCSPBasic         = "1.3.6.1.5.5.7.48.1.1"
	oidOCSPNonce         = "1.3.6.1.5.5.7.48.1.2"
	oidOCSPNoCheck       = "1.3.6.1.5.5.7.48.1.5"
	oidUserPrincipalName = "1.3.6.1.4.1.311.20.2.3"

	// Okta's marker of Device Access certificates, and the form of it that
	// AD CS can set, as a purpose of the key.
	oidMarker        = "1.3.6.1.4.1.51150.13.1"
	oidMarkerPurpose = "1.3.6.1.4.1.51150.13.1.1"
)

// names are the names of the object identifiers as their standards write them.
var names = map[string]string{
	oidData: "id-data", oidSignedData: "id-signedData", oidEnvelopedData: "id-envelopedData",
	oidAuthEnveloped: "id-ct-authEnvelopedData", "1.2.840.113549.1.7.5": "id-digestedData", "1.2.840.113549.1.7.6": "id-encryptedData",

	oidContentType: "contentType", oidMessageDigest: "messageDigest", oidSigningTime: "signingTime",
	oidMessageType: "messageType", oidPKIStatus: "pkiStatus", oidFailInfo: "failInfo", oidSenderNonce: "senderNonce",
	oidRecipientNonce: "recipientNonce", oidTransactionID: "transactionID", oidFailInfoText: "failInfoText",
	"2.16.840.1.113733.1.9.8": "extensionReq",
	"1.2.840.113549.1.9.52":   "CMSAlgorithmProtection", "1.2.840.113549.1.9.15": "smimeCapabilities",
	"1.2.840.113549.1.9.16.2.47": "signingCertificateV2",

	oidChallengePassword: "challengePassword", oidExtensionRequest: "extensionRequest", oidMSExtensions: "msCertExtensions",
	"1.2.840.113549.1.9.2": "unstructuredName", "1.2.840.113549.1.9.8": "unstructuredAddress",
	"1.3.6.1.4.1.311.13.2.3": "msOSVersion", "1.3.6.1.4.1.311.13.2.2": "msEnrolmentCSP", "1.3.6.1.4.1.311.13.2.1": "msEnrolmentNameValuePair",
	"1.3.6.1.4.1.311.21.20": "msRequestClientInfo", "1.3.6.1.4.1.311.13.1": "msRenewalCertificate",

	oidRSA: "rsaEncryption", oidOAEP: "id-RSAES-OAEP", oidPSS: "id-RSASSA-PSS", "1.2.840.113549.1.1.8": "id-mgf1",
	oidEC: "id-ecPublicKey", oidEd25519: "id-Ed25519", "1.3.101.110": "id-X25519",
	"1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521", "1.3.132.0.33": "P-224",
	"1.2.840.113549.1.1.4": "md5WithRSAEncryption", "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
	"1.2.840.113549.1.1.14": "sha224WithRSAEncryption", "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
	"1.2.840.113549.1.1.12": "sha384WithRSAEncryption", "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
	"1.2.840.10045.4.1": "ecdsa-with-SHA1", "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
	"1.2.840.10045.4.3.3": "ecdsa-with-SHA384", "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
	"1.2.840.113549.2.2": "MD2", "1.2.840.113549.2.5": "MD5", "1.3.14.3.2.26": "SHA-1", "2.16.840.1.101.3.4.2.4": "SHA-224",
	"2.16.840.1.101.3.4.2.1": "SHA-256", "2.16.840.1.101.3.4.2.2": "SHA-384", "2.16.840.1.101.3.4.2.3": "SHA-512",

	oidDES: "DES-CBC", oid3DES: "DES-EDE3-CBC", oidAES128: "AES-128-CBC", oidAES192: "AES-192-CBC", oidAES256: "AES-256-CBC",
	oidAES128GCM: "AES-128-GCM", oidAES192GCM: "AES-192-GCM", oidAES256GCM: "AES-256-GCM", "1.2.840.113549.3.2": "RC2-CBC",
	"1.2.840.113549.3.4": "RC4", "1.2.840.113549.1.5.12": "PBKDF2", "1.2.840.113549.1.9.16.3.9": "PWRI-KEK",
	"1.2.840.113549.2.7": "hmacWithSHA1", "1.2.840.113549.2.9": "hmacWithSHA256",

	oidSubjectKeyID: "subjectKeyIdentifier", oidKeyUsage: "keyUsage", oidSubjectAltName: "subjectAltName",
	"2.5.29.18": "issuerAltName", oidBasicConstraints: "basicConstraints", oidCRLNumber: "cRLNumber", oidReasonCode: "reasonCode",
	oidInvalidityDate: "invalidityDate", oidDeltaCRL: "deltaCRLIndicator", "2.5.29.28": "issuingDistributionPoint",
	"2.5.29.29": "certificateIssuer", "2.5.29.30": "nameConstraints", oidCRLDistribution: "cRLDistributionPoints",
	"2.5.29.32": "certificatePolicies", oidAuthorityKeyID: "authorityKeyIdentifier", "2.5.29.36": "policyConstraints",
	oidExtKeyUsage: "extKeyUsage", "2.5.29.46": "freshestCRL", oidAuthorityInfo: "authorityInfoAccess",
	"1.3.6.1.4.1.311.21.7": "msCertificateTemplate", "1.3.6.1.4.1.311.20.2": "msCertificateTemplateName",
	"1.3.6.1.4.1.311.21.10": "msApplicationPolicies", "1.3.6.1.4.1.311.25.2": "msNTDSCASecurity",
	"2.16.840.1.113730.1.1": "netscapeCertType", "2.16.840.1.113730.1.13": "netscapeComment",
	oidMarker: "Okta Device Access marker", oidMarkerPurpose: "Okta Device Access (as AD CS writes it)",

	"2.5.29.37.0": "anyExtendedKeyUsage", "1.3.6.1.5.5.7.3.1": "serverAuth", oidClientAuth: "clientAuth",
	"1.3.6.1.5.5.7.3.3": "codeSigning", "1.3.6.1.5.5.7.3.4": "emailProtection", "1.3.6.1.5.5.7.3.8": "timeStamping",
	oidOCSPSigning: "OCSPSigning", "1.3.6.1.4.1.311.20.2.2": "msSmartcardLogon", "1.3.6.1.4.1.311.10.3.4": "msEFS",
	"1.3.6.1.4.1.311.20.2.1": "msEnrolmentAgent", "1.3.6.1.5.5.7.3.21": "sshClient",

	"1.3.6.1.5.5.7.48.1": "OCSP", "1.3.6.1.5.5.7.48.2": "caIssuers", oidOCSPBasic: "id-pkix-ocsp-basic",
	oidOCSPNonce: "id-pkix-ocsp-nonce", oidOCSPNoCheck: "id-pkix-ocsp-nocheck", "1.3.6.1.5.5.7.48.1.4": "id-pkix-ocsp-response",
	oidUserPrincipalName: "userPrincipalName",

	"2.5.4.3": "commonName", "2.5.4.5": "serialNumber", "2.5.4.6": "countryName", "2.5.4.7": "localityName",
	"2.5.4.8": "stateOrProvinceName", "2.5.4.10": "organizationName", "2.5.4.11": "organizationalUnitName",
	"0.9.2342.19200300.100.1.1": "userID", "0.9.2342.19200300.100.1.25": "domainComponent", "1.2.840.113549.1.9.1": "emailAddress",
}

// oidOf returns an object identifier in dots, or "".
func oidOf(n *node) string {
	if !n.is(tagOID) || len(n.body) > maxOID {
		return ""
	}
	var oid x509.OID // has no limit to its numbers
	if err := oid.UnmarshalBinary(n.body); err != nil {
		return ""
	}
	return oid.String()
}

// nameOf returns the name of an object identifier, or itself.
func nameOf(oid string) string {
	switch name, known := names[oid]; {
	case known:
		return name
	case oid == "":
		return "unreadable object identifier"
	default:
		return oid
	}
}

// tagName returns the name of a tag, as ASN.1 writes it.
func tagName(tag byte) string {
	number := tag & 0x1f
	switch tag & 0xc0 {
	case 0x80:
		return fmt.Sprintf("[%d]", number)
	case 0x40:
		return fmt.Sprintf("[APPLICATION %d]", number)
	case 0xc0:
		return fmt.Sprintf("[PRIVATE %d]", number)
	}
	name, known := map[byte]string{
		tagBoolean: "BOOLEAN", tagInteger: "INTEGER", tagBitString: "BIT STRING", tagOctetString: "OCTET STRING", tagNull: "NULL",
		tagOID: "OBJECT IDENTIFIER", tagEnumerated: "ENUMERATED", tagUTF8String: "UTF8String", 0x10: "SEQUENCE", 0x11: "SET",
		tagNumericString: "NumericString", tagPrintableString: "PrintableString", tagT61String: "T61String", tagIA5String: "IA5String",
		tagUTCTime: "UTCTime", tagGeneralizedTime: "GeneralizedTime", tagVisibleString: "VisibleString",
		tagUniversalString: "UniversalString", tagBMPString: "BMPString",
	}[number]
	if !known {
		name = fmt.Sprintf("[UNIVERSAL %d]", number)
	}
	if isSplitString(tag) {
		return name + " in pieces"
	}
	return name
}
