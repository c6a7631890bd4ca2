package arch_test

// anything stands for every package of ours.
const anything = "*"

// arrows says which packages of ours each package of ours may import, tests
// aside. A package that is not here fails the test, and so does a line without
// a package.
var arrows = map[string][]string{
	// The ground: nothing of ours.
	"refusal": {},
	"clock":   {},
	"device":  {},
	"depot":   {}, // its records are its own

	// The wire.
	"scep/internal/cms": {},
	"scep":              {"refusal", "scep/internal/cms"},
	"scep/client":       {"clock", "scep", "scep/internal/cms"},
	"scep/client/craft": {"scep/internal/cms"},
	"ocsp":              {},

	// What decides and what keeps.
	"challenge":       {"depot", "device", "refusal"},
	"ca":              {"clock", "refusal"},
	"depot/bolt":      {"clock", "depot"},
	"depot/depottest": {"clock", "depot"},
	"backup":          {},

	// Microsoft, as a lab has it.
	"challenge/intune":      {"challenge", "depot", "refusal"},
	"challenge/intune/fake": {"clock"},

	// What joins them.
	"revocation":     {"ca", "clock", "depot", "ocsp"},
	"configuration":  {"ca", "challenge", "challenge/intune", "clock", "depot", "redistribution", "refusal", "scep"},
	"redistribution": {"clock", "depot"},
	"connector":      {"challenge/intune", "clock", "configuration", "depot"},
	"devicelist":     {"clock", "configuration", "depot"},
	"enroll":         {"ca", "challenge", "clock", "configuration", "depot", "device", "devicelist", "refusal", "scep"},
	"server":         {"ca", "challenge", "clock", "configuration", "depot", "device", "devicelist", "enroll", "inspect", "lab", "notify", "ocsp", "redistribution", "refusal", "revocation", "scep"},
	"notify":         {"clock", "depot"},
	"lab":            {"clock", "depot", "device"},

	// What people look for and take away.
	"inspect": {"depot", "device"},

	// What explains the wire to people.
	"explain": {"device", "scep"},

	// What puts servers to the test, ours or another.
	"load":        {"scep/client"},
	"conformance": {"scep/client", "scep/client/craft"},

	// The program.
	"cmd/understudy":                   {anything},
	"cmd/understudy/internal/api":      {},
	"cmd/understudy/internal/datadir":  {"cmd/understudy/internal/api"},
	"cmd/understudy/internal/operator": {"cmd/understudy/internal/api", "conformance", "scep/client"},
	"cmd/understudy/internal/output":   {},
	"cmd/understudy/internal/selftls":  {"cmd/understudy/internal/datadir"},
	"cmd/understudy/internal/setting":  {},
	"cmd/understudy/internal/subject":  {},
	"cmd/understudy/internal/upkeep":   {"backup", "ca", "clock", "cmd/understudy/internal/datadir", "depot", "depot/bolt"},

	// What only tests use.
	"internal/arch":          {},
	"test/bench":             {},
	"test/clients":           {"test/internal/program", "test/internal/shown"},
	"test/compare":           {"depot", "depot/bolt"},
	"test/conformance":       {"test/internal/program"},
	"test/readme":            {"test/internal/program", "test/internal/shown"},
	"test/internal/program":  {},
	"test/internal/powercut": {},
	"test/reliability":       {"test/internal/program"},
	"test/internal/shown":    {},
	"test/scale":             {},
	"test/secrets":           {"test/internal/program"},
}

// homes says where each outside library may be imported, tests aside. The
// longest name that fits decides; a library that is not here fails the test,
// and so does a home that has moved out.
var homes = map[string][]string{
	// CMS and SCEP.
	"github.com/smallstep/pkcs7": {"scep"},
	"github.com/smallstep/scep":  {"scep", "scep/client"},
	"go.mozilla.org/pkcs7":       {"scep/client"},

	// DER and text.
	"golang.org/x/crypto/cryptobyte": {"ca", "challenge/intune/fake", "conformance", "device", "lab", "ocsp", "scep", "scep/client", "scep/client/craft", "scep/internal/cms"},
	"golang.org/x/text":              {"device"},

	// Tokens of Microsoft's.
	"github.com/AzureAD/microsoft-authentication-library-for-go": {"challenge/intune"},
	"github.com/golang-jwt/jwt/v5":                               {"challenge/intune/fake"},
	"github.com/google/uuid":                                     {"challenge/intune", "cmd/understudy"},
	"golang.org/x/sync":                                          {"challenge/intune"},

	// Keys.
	"github.com/titanous/rocacheck": {"ca"},

	// Storage.
	"go.etcd.io/bbolt":         {"depot/bolt"},
	"pgregory.net/rapid":       {"depot/depottest"},
	"github.com/google/go-cmp": {"depot/depottest"},

	// HTTP.
	"github.com/prometheus/client_golang": {"server"},
	"github.com/hashicorp/golang-lru/v2":  {"server"},
	"golang.org/x/time/rate":              {"server"},
	"golang.org/x/net/netutil":            {"server"},

	// The machine.
	"golang.org/x/sys": {"load"},

	// What only tests use.
	"github.com/hanwen/go-fuse/v2": {"test/internal/powercut"},

	// The command line.
	"github.com/alecthomas/kong": {"cmd/understudy", "cmd/understudy/internal/setting"},
	"go.yaml.in/yaml/v3":         {"cmd/understudy/internal/setting"},
}

// secluded are packages of the standard library that few may import, so that
// scep knows no HTTP and nobody decides anything by the shell.
var secluded = map[string][]string{
	"net/http": {"challenge/intune", "challenge/intune/fake", "cmd/understudy", "cmd/understudy/internal/api", "cmd/understudy/internal/operator", "conformance", "load", "notify", "scep/client", "server", "test/compare", "test/internal/program", "test/scale"},
	"os/exec":  {"cmd/understudy/internal/operator", "test/compare", "test/internal/powercut", "test/internal/program", "test/scale"},
	"unsafe":   {},
}

// maxFunction is the most lines of a function without a comment "// long: why".
const maxFunction = 60
