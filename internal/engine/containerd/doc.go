// Package containerd is the engine that runs instances as containers on this machine.
// containerd lives inside this process with only the plugins that are needed; our own
// executable is its shim, so containers outlive the daemon and the next daemon adopts
// them. It is also the image store: the registry writes blobs to the same content store
// that instances start from.
//
// On disk (Config.DataDir):
//
//	containerd/            metadata, blobs, unpacked layers
//	bin/                   runc and the shim's link to our executable
//	containers/<id>/       resolv.conf, hosts, hostname, state.json (written by the shim)
//	containers-logs/<id>.log
//
// In memory (Config.RunDir): state/ is a tmpfs with the bundles, the only place where
// values of the user's environment are written; s/ and ttrpc.sock are sockets.
package containerd
