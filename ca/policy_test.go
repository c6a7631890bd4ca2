package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"testing"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/refusal"
)

// A modulus of 2048 bits to begin from: the device key's.
func goodModulus(t testing.TB) *big.Int {
	return new(big.Int).Set(testKey(t, "device-rsa").Public().(*rsa.PublicKey).N)
}

// keyRequest returns a request with any public key. Check leaves the proof of
// possession to who decoded the request, so there is no signature.
func keyRequest(t testing.TB, key crypto.PublicKey) *x509.CertificateRequest {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key)
	must(t, err)
	return &x509.CertificateRequest{PublicKey: key, RawSubjectPublicKeyInfo: spki, RawSubject: commonName(t, "x")}
}

// odd returns an odd number of so many bits without factors below 1024.
func odd(t testing.TB, bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits)-1)
	n.Add(n, new(big.Int).Rsh(goodModulus(t), uint(max(0, 2050-bits))))
	return withoutSmallFactors(n, big.NewInt(1))
}

// withoutSmallFactors returns the first odd number n, n+step, n+2·step … that
// no prime below 1024 divides.
func withoutSmallFactors(n, step *big.Int) *big.Int {
	small := new(big.Int).MulRange(3, 1024)
	for ; n.Bit(0) == 0 || new(big.Int).GCD(nil, nil, n, small).BitLen() > 1; n.Add(n, step) {
	}
	return n
}

// rocaModulus returns a number of 2048 bits whose remainders by the primes
// that ROCA's test looks at are all 1, a power of everything.
func rocaModulus() *big.Int {
	step := big.NewInt(2)
	for _, p := range []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		step.Mul(step, big.NewInt(p))
	}
	n := new(big.Int).Lsh(big.NewInt(1), 2047)
	n.Add(n, step).Sub(n, new(big.Int).Mod(n, step)).Add(n, big.NewInt(1))
	return withoutSmallFactors(n, step)
}

// closePrimes returns a product of two primes of 1024 bits, where the larger
// is the first prime that lies at least distance above the smaller.
func closePrimes(distance uint) *big.Int {
	p := nextPrime(new(big.Int).Lsh(big.NewInt(3), 1022))
	q := new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), distance))
	return new(big.Int).Mul(p, nextPrime(q))
}

func nextPrime(n *big.Int) *big.Int {
	for n = new(big.Int).SetBit(n, 0, 1); !n.ProbablyPrime(0); n.Add(n, big.NewInt(2)) {
	}
	return n
}

func TestKeys(t *testing.T) { // A41
	good := goodModulus(t)
	even := new(big.Int).Add(good, big.NewInt(1))
	times := func(prime int64) *big.Int { // of 2048 bits, and no other small factor
		n := new(big.Int).Quo(good, big.NewInt(prime))
		return n.Mul(withoutSmallFactors(n, big.NewInt(1)), big.NewInt(prime))
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	must(t, err)
	const keyRejected, unsupported = refusal.KeyRejected, refusal.UnsupportedAlgorithm
	for _, tt := range []struct {
		name   string
		key    crypto.PublicKey
		sizes  []int
		reason refusal.Reason
		detail string
	}{
		{"RSA-2048", &rsa.PublicKey{N: good, E: 65537}, nil, "", ""},
		{"RSA-512", &rsa.PublicKey{N: odd(t, 512), E: 65537}, nil, keyRejected, "512 bits"},
		{"RSA-768", &rsa.PublicKey{N: odd(t, 768), E: 65537}, nil, keyRejected, "768 bits"},
		{"RSA-1024", &rsa.PublicKey{N: odd(t, 1024), E: 65537}, nil, keyRejected, "1024 bits"},
		{"RSA-2047", &rsa.PublicKey{N: odd(t, 2047), E: 65537}, nil, keyRejected, "2047 bits"},
		{"RSA-4097", &rsa.PublicKey{N: odd(t, 4097), E: 65537}, []int{2048, 3072, 4096}, keyRejected, "4097 bits"},
		{"RSA-65536", &rsa.PublicKey{N: odd(t, 65536), E: 65537}, []int{2048, 3072, 4096}, keyRejected, "65536 bits"},
		{"RSA-3072 by default", &rsa.PublicKey{N: odd(t, 3072), E: 65537}, nil, keyRejected, "3072 bits"},
		{"RSA-3072 by policy", &rsa.PublicKey{N: odd(t, 3072), E: 65537}, []int{3072, 4096}, "", ""},
		{"RSA-4096 by policy", &rsa.PublicKey{N: odd(t, 4096), E: 65537}, []int{3072, 4096}, "", ""},
		{"RSA-2048 not by policy", &rsa.PublicKey{N: good, E: 65537}, []int{3072}, keyRejected, "2048 bits"},
		{"e = 1", &rsa.PublicKey{N: good, E: 1}, nil, keyRejected, "exponent 1,"},
		{"e = 2", &rsa.PublicKey{N: good, E: 2}, nil, keyRejected, "exponent 2,"},
		{"e = 3", &rsa.PublicKey{N: good, E: 3}, nil, keyRejected, "exponent 3,"},
		{"e even", &rsa.PublicKey{N: good, E: 65536}, nil, keyRejected, "exponent 65536,"},
		{"e = 2³¹−1", &rsa.PublicKey{N: good, E: 1<<31 - 1}, nil, keyRejected, "exponent 2147483647,"},
		{"even modulus", &rsa.PublicKey{N: even, E: 65537}, nil, keyRejected, "odd"},
		{"divided by 3", &rsa.PublicKey{N: times(3), E: 65537}, nil, keyRejected, "divided by 3"},
		{"divided by 1021", &rsa.PublicKey{N: times(1021), E: 65537}, nil, keyRejected, "divided by 1021"},
		{"ROCA", &rsa.PublicKey{N: rocaModulus(), E: 65537}, nil, keyRejected, "ROCA"},
		{"P-224", p224.Public(), nil, unsupported, "type"},
		{"P-256", testKey(t, "device-p256").Public(), nil, unsupported, "type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := deviceAccess()
			p.KeySizes = tt.sizes
			permit, err := p.Check(keyRequest(t, tt.key), today)
			if tt.reason == "" {
				must(t, err)
				return
			}
			if permit != nil {
				t.Error("a permit with a refusal")
			}
			wantRefusal(t, err, tt.reason, tt.detail)
		})
	}
}

func TestKeysWithoutAType(t *testing.T) {
	csr := keyRequest(t, &rsa.PublicKey{N: goodModulus(t), E: 65537})
	csr.PublicKey = nil // what crypto/x509 makes of a key algorithm that it does not know
	_, err := deviceAccess().Check(csr, today)
	wantRefusal(t, err, refusal.UnsupportedAlgorithm, "type")
}

func TestDeniedKey(t *testing.T) {
	csr := keyRequest(t, &rsa.PublicKey{N: goodModulus(t), E: 65537})
	p := deviceAccess()
	p.DeniedKeys = map[[32]byte]struct{}{sha256.Sum256(csr.RawSubjectPublicKeyInfo): {}}
	_, err := p.Check(csr, today)
	wantRefusal(t, err, refusal.KeyRejected, "deny list")

	other := &rsa.PublicKey{N: odd(t, 2048), E: 65537}
	if _, err := p.Check(keyRequest(t, other), today); err != nil {
		t.Errorf("another key: %v", err)
	}
}

// A SubjectPublicKeyInfo with something after the key is parsed by crypto/x509
// but must not reach a certificate.
func TestKeyInfoWithMore(t *testing.T) {
	csr := keyRequest(t, &rsa.PublicKey{N: goodModulus(t), E: 65537})
	info := csr.RawSubjectPublicKeyInfo[4:] // of SEQUENCE and a length of two octets
	csr.RawSubjectPublicKeyInfo = der(t, 0x30, info, der(t, 0x04, []byte("more")))
	_, err := deviceAccess().Check(csr, today)
	wantRefusal(t, err, refusal.KeyRejected, "not in DER")
}

func TestSlowKeyChecks(t *testing.T) { // A41
	square := nextPrime(new(big.Int).Lsh(big.NewInt(3), 1022))
	square.Mul(square, square)
	prime := nextPrime(goodModulus(t))
	for _, tt := range []struct {
		name, detail string
		n            *big.Int
	}{
		{"good", "", goodModulus(t)},
		{"prime", "prime", prime},
		{"square", "square", square},
		{"twins", "round 1 ", closePrimes(1)},
		{"close primes", "close", closePrimes(516)},
		{"distant primes", "", closePrimes(600)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := &rsa.PublicKey{N: tt.n, E: 65537}
			p := deviceAccess()
			if _, err := p.Check(keyRequest(t, key), today); err != nil {
				t.Errorf("the fast checks: %v", err)
			}
			p.StrictKeyChecks = true
			_, onThePath := p.Check(keyRequest(t, key), today)
			for _, err := range []error{ca.CheckKeySlow(key), onThePath} {
				if tt.detail == "" {
					must(t, err)
					continue
				}
				wantRefusal(t, err, refusal.KeyRejected, tt.detail)
			}
		})
	}
	for _, n := range []*big.Int{nil, big.NewInt(0), big.NewInt(-7), big.NewInt(6)} {
		wantRefusal(t, ca.CheckKeySlow(&rsa.PublicKey{N: n, E: 65537}), refusal.KeyRejected, "odd")
	}
	must(t, ca.CheckKeySlow(testKey(t, "device-p256").Public()))
}

func TestUnknownPurpose(t *testing.T) {
	for _, purpose := range []string{"", "Device-Access", "tls"} {
		p := &ca.Policy{Purpose: purpose}
		permit, err := p.Check(request(t, commonName(t, "x")), today)
		if _, refused := refusal.Of(err); err == nil || refused || permit != nil {
			t.Errorf("purpose %q: %v, want an internal error", purpose, err)
		}
	}
}

// A permit holds what was checked, whatever happens to the request afterwards.
func TestPermitIsACopy(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	csr := request(t, commonName(t, "C02XK1ZZJG5H"))
	permit, err := deviceAccess().Check(csr, today)
	must(t, err)
	subject, key := bytes.Clone(csr.RawSubject), bytes.Clone(csr.RawSubjectPublicKeyInfo)
	clear(csr.RawSubject)
	clear(csr.RawSubjectPublicKeyInfo)
	c, err := a.Issue(permit)
	must(t, err)
	if !bytes.Equal(c.RawSubject, subject) || !bytes.Equal(c.RawSubjectPublicKeyInfo, key) {
		t.Error("the certificate follows a request that changed")
	}
}
