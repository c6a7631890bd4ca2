package intune

// Codes returns the codes that Intune is known to answer with, in the order of
// its reference client (IntuneScepServiceException). Another one is a refusal
// as well.
func Codes() []string {
	return []string{
		"Success", "Unknown", "CertificateRequestDecodingFailed", "ChallengePasswordMissing",
		"ChallengeDecodingError", "ChallengeDeserializationError", "ChallengeDecryptionError", "SignatureValidationFailed",
		"SigningCertThumbprintMismatch", "ChallengeInvalidTimestamp", "ChallengeExpired", "SubjectNameMissing",
		"SubjectNameMismatch", "SubjectAltNameMissing", "SubjectAltNameMismatch", "KeyUsageMismatch", "KeyLengthMismatch",
		"EnhancedKeyUsageMissing", "EnhancedKeyUsageMismatch", "AadKeyIdentifierListMissing", "RegisteredKeyMismatch",
		"ScepProfileNoLongerTargetedToTheClient", "BadCertificateRequestIdInChallenge", "BadDeviceIdInChallenge",
		"BadUserIdInChallenge",
	}
}
