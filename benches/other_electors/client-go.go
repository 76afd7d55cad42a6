// An elector that uses client-go's leaderelection with its defaults, and has the flags and the answer of leader-elector,
// so that `just bench` can compare the two. In a directory with this file only:
//
//	go mod init client-go && go get k8s.io/client-go@v0.36.2 && go build
//	RIVALS="client-go=$PWD/client-go --json" just bench
package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func main() {
	election := flag.String("election", "", "the name of the Lease")
	namespace := flag.String("election-namespace", "default", "its namespace")
	id := flag.String("id", "", "the identity of this candidate")
	listen := flag.String("http", "", "the address of the HTTP server")
	server := flag.String("server", "", "the URL of the API server")
	account := flag.String("service-account-dir", "", "the directory with token and ca.crt")
	ttl := flag.Duration("ttl", 15*time.Second, "the lease duration; the renew deadline is 2/3 of it, the retry period 2/15, the ratio of the defaults")
	flag.String("lock", "leases", "ignored: the lock is always a Lease")
	asJSON := flag.Bool("json", false, "use JSON instead of protobuf, for the in-memory API server")
	flag.Parse()

	config := &rest.Config{
		Host:            *server,
		BearerTokenFile: filepath.Join(*account, "token"),
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(*account, "ca.crt")},
	}
	if *asJSON {
		config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	}
	client := kubernetes.NewForConfigOrDie(config)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: *election, Namespace: *namespace},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: *id},
		},
		ReleaseOnCancel: true,
		LeaseDuration:   *ttl,
		RenewDeadline:   *ttl * 2 / 3,
		RetryPeriod:     *ttl * 2 / 15,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		panic(err)
	}
	go http.ListenAndServe(*listen, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body, _ := json.Marshal(map[string]string{"name": elector.GetLeader()})
		w.Write(body)
	}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	elector.Run(ctx)
}
