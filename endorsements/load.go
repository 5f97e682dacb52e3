// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Limits of one load. They bound memory, not trust.
const (
	// MaxFile is the largest file in bytes that is read.
	MaxFile = 4 << 20
	// MaxTotal bounds all bytes that one load reads.
	MaxTotal = 64 << 20
	// MaxFiles bounds the number of files and folders that one load looks at.
	MaxFiles = 4096
)

// ErrLimit says that a folder is larger than one load may be. Nothing is
// returned then: which part of the collateral was read would be an accident.
var ErrLimit = errors.New("endorsements: too much to load")

// WarningKind says why a file was not used.
type WarningKind string

// Kinds of warnings.
const (
	// WarnNotUnderstood: the content is none that this package knows; it may
	// belong to another consumer of the same folder.
	WarnNotUnderstood WarningKind = "not-understood"
	// WarnMalformed: the content claims to be a known form and is not.
	WarnMalformed WarningKind = "malformed"
	// WarnTooLarge: the file has more than MaxFile bytes.
	WarnTooLarge WarningKind = "too-large"
	// WarnNotRegular: a symbolic link, device, socket or pipe.
	WarnNotRegular WarningKind = "not-regular"
	// WarnNoSigner: a response of Intel's service, or a revocation list of a PCK
	// CA, and nobody in the folder has signed it. A list of a PCK CA is still a
	// loose one.
	WarnNoSigner WarningKind = "no-signer"
	// WarnUnreadable: the file could not be read.
	WarnUnreadable WarningKind = "unreadable"
)

// Warning is one file that was not used, and why.
type Warning struct {
	// Name is the slash-separated path below the loaded folder.
	Name   string
	Kind   WarningKind
	Detail string
}

// String renders the warning as one line.
func (w Warning) String() string { return fmt.Sprintf("%s: %s: %s", w.Name, w.Kind, w.Detail) }

// LoadDir loads the folder dir and everything below it. Symbolic links inside
// are not followed, and a link put in place during the load cannot lead out of
// dir either. An error means that the folder cannot be read at all or is above
// the limits.
func LoadDir(dir string) (*Bundle, []Warning, error) {
	root, err := os.OpenRoot(filepath.Clean(dir))
	if err != nil {
		return nil, nil, fmt.Errorf("endorsements: open folder: %w", err)
	}
	defer root.Close()
	return Load(root.FS())
}

// Load loads every regular file of fsys in lexical order of paths. See LoadDir.
func Load(fsys fs.FS) (*Bundle, []Warning, error) {
	l := loader{fsys: fsys, bundle: new(Bundle)}
	if err := fs.WalkDir(fsys, ".", l.visit); err != nil {
		return nil, nil, err
	}
	l.finish()
	return l.bundle, l.warnings, nil
}

// Parse reads one file that stands for itself, by the rules of Load.
func Parse(name string, raw []byte) (*Bundle, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("endorsements: %s: %w", name, errTooLarge)
	}
	l := loader{bundle: new(Bundle)}
	l.recognise(name, raw)
	l.finish()
	if len(l.warnings) > 0 {
		return nil, fmt.Errorf("endorsements: %s", l.warnings[0])
	}
	return l.bundle, nil
}

type loader struct {
	fsys   fs.FS
	bundle *Bundle
	// responses are those of Intel's service, until their signers are found.
	responses []IntelCollateral
	warnings  []Warning
	entries   int
	total     int
}

func (l *loader) warn(name string, kind WarningKind, detail string) {
	l.warnings = append(l.warnings, Warning{Name: name, Kind: kind, Detail: detail})
}

// visit is the fs.WalkDirFunc of a load.
func (l *loader) visit(name string, entry fs.DirEntry, err error) error {
	if err != nil {
		if name == "." {
			return fmt.Errorf("endorsements: read folder: %w", err)
		}
		l.warn(name, WarnUnreadable, err.Error())
		return nil
	}
	if l.entries++; l.entries > MaxFiles {
		return fmt.Errorf("%w: more than %d files and folders", ErrLimit, MaxFiles)
	}
	if entry.IsDir() {
		return nil
	}
	if !entry.Type().IsRegular() {
		l.warn(name, WarnNotRegular, "not a regular file: "+entry.Type().String())
		return nil
	}
	raw, err := l.read(name)
	switch {
	case errors.Is(err, ErrLimit):
		return err
	case errors.Is(err, errTooLarge):
		l.warn(name, WarnTooLarge, err.Error())
	case err != nil:
		l.warn(name, WarnUnreadable, err.Error())
	default:
		l.recognise(name, raw)
	}
	return nil
}

var errTooLarge = fmt.Errorf("more than %d bytes", MaxFile)

// read returns one file. The size is judged by what is read, not by what the
// directory says.
func (l *loader) read(name string) ([]byte, error) {
	f, err := l.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("no longer a regular file")
	}
	if info.Size() > MaxFile {
		return nil, errTooLarge
	}
	raw, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if l.total += len(raw); l.total > MaxTotal {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrLimit, MaxTotal)
	}
	if len(raw) > MaxFile {
		return nil, errTooLarge
	}
	return raw, nil
}

// recognise adds what the content is to the bundle, or warns.
func (l *loader) recognise(name string, raw []byte) {
	if looksLikeX509(raw) {
		if err := l.bundle.parseX509(name, raw); err != nil {
			l.warn(name, WarnMalformed, err.Error())
		}
		return
	}
	if looksLikeOCSP(raw) || looksLikeSWID(raw) || looksLikeCoRIM(raw) || looksLikeReply(raw) {
		if err := l.bundle.parseNVIDIA(name, raw); err != nil {
			l.warn(name, WarnMalformed, err.Error())
		}
		return
	}
	if looksLikeResponse(raw) {
		c, err := ParseResponse(name, raw)
		if err != nil {
			l.warn(name, WarnMalformed, err.Error())
			return
		}
		l.responses = append(l.responses, c)
		return
	}
	if !looksLikeIntel(raw) {
		l.warn(name, WarnNotUnderstood, "no known form of collateral")
		return
	}
	set, err := parseIntel(name, raw)
	if err != nil {
		l.warn(name, WarnMalformed, err.Error())
		return
	}
	l.bundle.addIntel(set)
}
