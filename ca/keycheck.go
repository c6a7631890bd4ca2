package ca

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"math/bits"
	"slices"

	"github.com/titanous/rocacheck"

	"understudy.example/understudy/refusal"
)

// checkKey judges the key of a request: type, length and exponent before any
// arithmetic, then what costs microseconds. The rest is CheckKeySlow.
func (p *Policy) checkKey(csr *x509.CertificateRequest) error {
	key, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || key.N == nil {
		return refusal.WithText(refusal.UnsupportedAlgorithm, "only RSA keys are accepted", "key of type %s", csr.PublicKeyAlgorithm)
	}
	sizes := p.KeySizes
	if len(sizes) == 0 {
		sizes = []int{DefaultKeySize}
	}
	if size := key.N.BitLen(); !slices.Contains(sizes, size) {
		return refusal.WithText(refusal.KeyRejected, "the size of the key is not accepted", "RSA key of %d bits, accepted are %d", size, sizes)
	}
	if key.E != 65537 {
		return rejectKey("public exponent %d, not 65537", key.E)
	}
	if key.N.Sign() < 0 || key.N.Bit(0) == 0 {
		return rejectKey("modulus is not a positive odd number")
	}
	if err := p.checkKnownKey(csr, key); err != nil {
		return err
	}
	if prime := smallFactor(key.N); prime != 0 {
		return rejectKey("modulus can be divided by %d", prime)
	}
	if rocacheck.IsWeak(key) {
		return rejectKey("modulus has the form of ROCA, CVE-2017-15361")
	}
	if p.StrictKeyChecks {
		return CheckKeySlow(key)
	}
	return nil
}

// checkKnownKey refuses keys on the deny list, and public keys that are not
// written the one way DER has: such a key could carry other data into the
// certificate, and would have another hash than the key that is denied.
func (p *Policy) checkKnownKey(csr *x509.CertificateRequest, key *rsa.PublicKey) error {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || !bytes.Equal(spki, csr.RawSubjectPublicKeyInfo) {
		return rejectKey("SubjectPublicKeyInfo is not in DER")
	}
	if _, denied := p.DeniedKeys[sha256.Sum256(spki)]; denied {
		return rejectKey("key is on the deny list")
	}
	return nil
}

// rejectKey tells the operator why and the client only that.
func rejectKey(format string, args ...any) error {
	return refusal.WithText(refusal.KeyRejected, "the key is weak", format, args...)
}

// smallPrimeLimit bounds the primes that a modulus is divided by. Boulder
// stops at 751.
const smallPrimeLimit = 1024

// smallPrimeProduct is a product of odd primes that fits in one word, so that
// a long modulus is divided once for several primes.
type smallPrimeProduct struct {
	product uint64
	primes  []uint64
}

// smallPrimeProducts covers every odd prime below smallPrimeLimit.
var smallPrimeProducts = multiplySmallPrimes()

func multiplySmallPrimes() []smallPrimeProduct {
	var all []smallPrimeProduct
	product, primes := uint64(1), []uint64(nil)
	for n := uint64(3); n < smallPrimeLimit; n += 2 {
		if !big.NewInt(int64(n)).ProbablyPrime(0) { // exact below 2⁶⁴
			continue
		}
		if product > (1<<63)/n {
			all = append(all, smallPrimeProduct{product, primes})
			product, primes = 1, nil
		}
		product *= n
		primes = append(primes, n)
	}
	return append(all, smallPrimeProduct{product, primes})
}

// smallFactor returns a prime below smallPrimeLimit that divides an odd n, or 0.
func smallFactor(n *big.Int) uint64 {
	words := n.FillBytes(make([]byte, (n.BitLen()+63)/64*8))
	for _, s := range smallPrimeProducts {
		rest := remainder(words, s.product)
		for _, prime := range s.primes {
			if rest%prime == 0 {
				return prime
			}
		}
	}
	return 0
}

// remainder divides a big-endian number of whole 64-bit words. big.Int would
// need memory for a quotient that nobody wants.
func remainder(words []byte, divisor uint64) (rest uint64) {
	for ; len(words) > 0; words = words[8:] {
		_, rest = bits.Div64(rest, binary.BigEndian.Uint64(words), divisor)
	}
	return rest
}

// fermatRounds is how many steps Fermat's method is given, as in Boulder.
const fermatRounds = 110

// CheckKeySlow looks for an RSA modulus that is prime, a square, or the
// product of two primes so close together that Fermat's method finds them in
// 110 rounds. It costs more than a whole enrolment, so it is for findings
// afterwards, or on the path by StrictKeyChecks. The error is a refusal,
// key_rejected; keys of other types pass.
func CheckKeySlow(public crypto.PublicKey) error {
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	if key.N == nil || key.N.Sign() <= 0 || key.N.Bit(0) == 0 {
		return rejectKey("modulus is not a positive odd number")
	}
	root := new(big.Int).Sqrt(key.N)
	if new(big.Int).Mul(root, root).Cmp(key.N) == 0 {
		return rejectKey("modulus is a square")
	}
	if round := fermat(key.N, root); round != 0 {
		return rejectKey("the primes of the modulus are close: found in round %d of Fermat's method", round)
	}
	if key.N.ProbablyPrime(0) { // a prime never fails it; a product of two passes with no probability to speak of
		return rejectKey("modulus is prime")
	}
	return nil
}

// fermat looks for a and b with n = a² − b² = (a+b)(a−b), beginning at the
// first a above the root of n, which is no square. It returns the round in
// which it found them, or 0.
func fermat(n, root *big.Int) int {
	a := new(big.Int).Add(root, big.NewInt(1))
	square := new(big.Int).Mul(a, a)
	square.Sub(square, n)
	two, step, candidate := big.NewInt(2), new(big.Int).Lsh(a, 1), new(big.Int)
	step.Add(step, big.NewInt(1)) // (a+1)² = a² + 2a+1
	for round := 1; round <= fermatRounds; round++ {
		if canBeSquare(square) {
			candidate.Sqrt(square)
			if candidate.Mul(candidate, candidate).Cmp(square) == 0 {
				return round
			}
		}
		square.Add(square, step)
		step.Add(step, two)
	}
	return 0
}

// squaresMod64 has bit i set when i is a square modulo 64. Five numbers in six
// end there, and need no root.
const squaresMod64 = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57

func canBeSquare(n *big.Int) bool {
	words := n.Bits()
	return len(words) == 0 || uint64(squaresMod64)>>(words[0]%64)&1 == 1
}
