package powercut

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// diskVariable makes a test binary the process of the file system; its value
// is a task in JSON.
const diskVariable = "UNDERSTUDY_POWERCUT_DISK"

// task is what the process of the file system is to do.
type task struct {
	Dir     string // where it is mounted
	Deaf    []string
	Command []string // run on it
	Env     []string
}

// Options of a Machine.
type Options struct {
	// Deaf are base names of files whose fsync does nothing; "." is all
	// directories. It stands for a program that forgot to call it.
	Deaf []string
	// Command gives the program, which runs on the file system, and its
	// arguments. It gets the directory of the mount.
	Command func(dir string) []string
	Env     []string // added to the test's own
}

// A Machine is a file system and a program that runs on it.
type Machine struct {
	Stdout io.Reader // of the program

	command *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
	images  string
	taken   int
}

// Run is for TestMain. In the process of the file system it does that work
// and does not return.
func Run() {
	text := os.Getenv(diskVariable)
	if text == "" {
		return
	}
	var t task
	err := json.Unmarshal([]byte(text), &t)
	if err == nil {
		err = t.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Start starts the process of the file system, in a mount namespace of its
// own, and in it the program. Both end with the test.
func Start(t testing.TB, o Options) *Machine {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mount")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(task{dir, o.Deaf, o.Command(dir), o.Env})
	if err != nil {
		t.Fatal(err)
	}
	stdout, its, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{Stdout: stdout, images: t.TempDir(), command: exec.Command(os.Args[0])}
	m.command.Env = append(os.Environ(), diskVariable+"="+string(text))
	m.command.Stderr, m.command.ExtraFiles = os.Stderr, []*os.File{its}
	m.command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if m.orders, err = m.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	answers, err := m.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.answers = bufio.NewReader(answers)
	if err := m.command.Start(); err != nil {
		t.Fatalf("start the file system (it needs root and /dev/fuse): %v", err)
	}
	its.Close()
	t.Cleanup(func() {
		m.Stop()
		stdout.Close()
	})
	return m
}

// Stop ends the program as kill -9 does, and the file system.
func (m *Machine) Stop() {
	m.orders.Close()
	m.command.Wait()
}

// Image asks what the disk would have if the power failed after so many
// operations more, of which there are none between two images, and returns the directory that has it.
func (m *Machine) Image(mode Mode, seed uint64, operations int) (string, error) {
	m.taken++
	i := Image{filepath.Join(m.images, fmt.Sprint(m.taken)), mode, seed, operations}
	if err := json.NewEncoder(m.orders).Encode(i); err != nil {
		return "", fmt.Errorf("take image: %w", err)
	}
	answer, err := m.answers.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("take image: %w", err)
	}
	if answer != "ok\n" {
		return "", errors.New(strings.TrimSpace(answer))
	}
	return i.Dir, nil
}

// serve is the process of the file system: it takes orders until there are no
// more.
func (t task) serve() error {
	d := newDisk(t.Deaf)
	server, err := mount(d, t.Dir)
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	out := os.NewFile(3, "stdout of the program")
	program := exec.Command(t.Command[0], t.Command[1:]...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, diskVariable+"=") {
			program.Env = append(program.Env, v)
		}
	}
	program.Env = append(program.Env, t.Env...)
	program.Stdout, program.Stderr = out, os.Stderr
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := program.Start(); err != nil {
		return err
	}
	out.Close()
	orders := json.NewDecoder(os.Stdin)
	for {
		var i Image
		if orders.Decode(&i) != nil {
			break
		}
		if err := d.obey(i); err != nil {
			fmt.Printf("%q\n", err.Error())
		} else {
			fmt.Println("ok")
		}
	}
	d.release()
	program.Process.Kill()
	program.Wait()
	if err := server.Unmount(); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// release lets everything go on without orders: a program whose operation
// hangs cannot be killed.
func (d *disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = true
	d.goOn.Broadcast()
}

// obey takes an image when its time has come.
func (d *disk) obey(i Image) error {
	o := &order{i, i.Operations, make(chan error, 1)}
	d.mu.Lock()
	d.order = o
	if i.Operations == 0 {
		d.fulfil()
	}
	d.goOn.Broadcast()
	d.mu.Unlock()
	select {
	case err := <-o.done:
		return err
	case <-time.After(time.Second): // the program is idle
	}
	d.mu.Lock()
	d.fulfil()
	d.mu.Unlock()
	return <-o.done
}
