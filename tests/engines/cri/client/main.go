// cri talks to a container engine as the kubelet does.
//
//	cri call SOCKET METHOD        a request in JSON from standard input, the answer in JSON on standard output
//	cri stream URL [stdin] [tty]  what Exec and Attach have prepared, on our own streams
//
// crictl does less: it has no call for some fields, and prints only a part of the answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const patience = 60 * time.Second

func main() {
	err := errors.New("usage: cri call SOCKET METHOD | cri stream URL [stdin] [tty]")
	switch arguments := os.Args[1:]; {
	case len(arguments) == 3 && arguments[0] == "call":
		err = call(arguments[1], arguments[2])
	case len(arguments) >= 2 && arguments[0] == "stream":
		err = stream(arguments[1], arguments[2:])
	}
	var ended exec.CodeExitError
	if errors.As(err, &ended) {
		os.Exit(ended.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri:", err)
		os.Exit(125)
	}
}

// A method of the runtime's service, or else of the image's.
func find(name string) (protoreflect.MethodDescriptor, error) {
	for _, service := range []protoreflect.FullName{"runtime.v1.RuntimeService", "runtime.v1.ImageService"} {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(service)
		if err != nil {
			return nil, err
		}
		if method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name)); method != nil {
			return method, nil
		}
	}
	return nil, fmt.Errorf("CRI has no method %s", name)
}

func call(socket, name string) error {
	method, err := find(name)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	request, answer := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	if err := protojson.Unmarshal(text, request); err != nil {
		return err
	}
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	path := fmt.Sprintf("/%s/%s", method.Parent().FullName(), name)
	// After a restart the socket takes a moment.
	if err := connection.Invoke(ctx, path, request, answer, grpc.WaitForReady(true)); err != nil {
		return err
	}
	text, err = protojson.MarshalOptions{UseProtoNames: true}.Marshal(answer)
	fmt.Println(string(text))
	return err
}

func stream(address string, flags []string) error {
	where, err := url.Parse(address)
	if err != nil {
		return err
	}
	executor, err := remotecommand.NewSPDYExecutor(&rest.Config{}, "POST", where)
	if err != nil {
		return err
	}
	options := remotecommand.StreamOptions{Stdout: os.Stdout}
	if slices.Contains(flags, "stdin") {
		options.Stdin = os.Stdin
	}
	if slices.Contains(flags, "tty") {
		options.Tty = true
		options.TerminalSizeQueue = &once{size: &remotecommand.TerminalSize{Width: 101, Height: 33}}
	} else {
		options.Stderr = os.Stderr
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return executor.StreamWithContext(ctx, options)
}

// once tells a terminal's size, once.
type once struct{ size *remotecommand.TerminalSize }

func (o *once) Next() *remotecommand.TerminalSize {
	size := o.size
	o.size = nil
	return size
}
