// SPDX-License-Identifier: Apache-2.0

// Compares a FileDescriptorSet of xds/ with the descriptors of the modules that Envoy and Istio publish. Ours may leave
// fields out, but what is there must be the same; an enum must be whole, and a file must name the revision it was taken from.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

type comparison struct {
	files, messages, fields, enums, failures int
}

func (c *comparison) fail(format string, a ...any) {
	c.failures++
	fmt.Printf("FAIL: "+format+"\n", a...)
}

func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map<" + typeOf(f.MapKey()) + ", " + typeOf(f.MapValue()) + ">"
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func oneofOf(f protoreflect.FieldDescriptor) string {
	if o := f.ContainingOneof(); o != nil {
		return string(o.Name())
	}
	return "none"
}

func (c *comparison) field(ours, theirs protoreflect.FieldDescriptor) {
	same := func(what string, a, b any) {
		if a != b {
			c.fail("field %s: %s is %v, upstream %v", ours.FullName(), what, a, b)
		}
	}
	c.fields++
	same("number", ours.Number(), theirs.Number())
	same("kind", ours.Kind(), theirs.Kind())
	same("type", typeOf(ours), typeOf(theirs))
	same("label", ours.Cardinality(), theirs.Cardinality())
	same("packing", ours.IsPacked(), theirs.IsPacked())
	same("presence", ours.HasPresence(), theirs.HasPresence())
	same("oneof", oneofOf(ours), oneofOf(theirs))
	same("JSON name", ours.JSONName(), theirs.JSONName())
}

func (c *comparison) message(ours protoreflect.MessageDescriptor) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(ours.FullName())
	theirs, ok := found.(protoreflect.MessageDescriptor)
	if err != nil || !ok {
		c.fail("message %s: not known upstream", ours.FullName())
		return
	}
	c.messages++
	for i := 0; i < ours.Fields().Len(); i++ {
		f := ours.Fields().Get(i)
		if other := theirs.Fields().ByName(f.Name()); other != nil {
			c.field(f, other)
		} else {
			c.fail("field %s: not known upstream", f.FullName())
		}
	}
	for i := 0; i < ours.Messages().Len(); i++ {
		c.message(ours.Messages().Get(i))
	}
	for i := 0; i < ours.Enums().Len(); i++ {
		c.enum(ours.Enums().Get(i))
	}
}

func (c *comparison) enum(ours protoreflect.EnumDescriptor) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(ours.FullName())
	theirs, ok := found.(protoreflect.EnumDescriptor)
	if err != nil || !ok {
		c.fail("enum %s: not known upstream", ours.FullName())
		return
	}
	c.enums++
	for i := 0; i < ours.Values().Len(); i++ {
		v := ours.Values().Get(i)
		other := theirs.Values().ByName(v.Name())
		if other == nil {
			c.fail("enum value %s: not known upstream", v.FullName())
		} else if other.Number() != v.Number() {
			c.fail("enum value %s: number is %d, upstream %d", v.FullName(), v.Number(), other.Number())
		}
	}
	for i := 0; i < theirs.Values().Len(); i++ {
		if v := theirs.Values().Get(i); ours.Values().ByName(v.Name()) == nil {
			c.fail("enum %s: value %s of upstream is missing", ours.FullName(), v.Name())
		}
	}
}

// The module a Go package belongs to, as "path version".
func revision(goPackage string, modules []*debug.Module) string {
	best, text := "", ""
	for _, m := range modules {
		if (goPackage == m.Path || strings.HasPrefix(goPackage, m.Path+"/")) && len(m.Path) > len(best) {
			best, text = m.Path, m.Path+" "+m.Version
		}
	}
	return text
}

func (c *comparison) file(ours protoreflect.FileDescriptor, dir string, modules []*debug.Module) {
	theirs, err := protoregistry.GlobalFiles.FindFileByPath(ours.Path())
	if err != nil {
		c.fail("file %s: not known upstream", ours.Path())
		return
	}
	c.files++
	if ours.Package() != theirs.Package() || ours.Syntax() != theirs.Syntax() {
		c.fail("file %s: package %s %s, upstream %s %s", ours.Path(), ours.Package(), ours.Syntax(), theirs.Package(),
			theirs.Syntax())
	}
	goPackage := theirs.Options().(*descriptorpb.FileOptions).GetGoPackage()
	want := revision(strings.Split(goPackage, ";")[0], modules)
	text, err := os.ReadFile(filepath.Join(dir, ours.Path()))
	if err != nil || want == "" || !strings.Contains(string(text), "as in "+want+"\n") {
		c.fail("file %s: header does not name its revision %q", ours.Path(), want)
	}
	for i := 0; i < ours.Messages().Len(); i++ {
		c.message(ours.Messages().Get(i))
	}
	for i := 0; i < ours.Enums().Len(); i++ {
		c.enum(ours.Enums().Get(i))
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: descriptors SET.pb DIRECTORY")
		os.Exit(2)
	}
	raw, err := os.ReadFile(os.Args[1])
	set := &descriptorpb.FileDescriptorSet{}
	if err == nil {
		err = proto.Unmarshal(raw, set)
	}
	files, ferr := protodesc.NewFiles(set)
	build, ok := debug.ReadBuildInfo()
	if err != nil || ferr != nil || !ok {
		fmt.Fprintln(os.Stderr, "descriptors:", err, ferr)
		os.Exit(2)
	}
	c := &comparison{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		c.file(f, os.Args[2], build.Deps)
		return true
	})
	fmt.Printf("descriptors: %d files, %d messages, %d fields, %d enums compared, %d differences\n",
		c.files, c.messages, c.fields, c.enums, c.failures)
	if c.failures > 0 || c.fields == 0 {
		os.Exit(1)
	}
}
