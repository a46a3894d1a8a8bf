// Package script tells Funade's behaviour as stories with the real command line, the real aws program and real
// containers. Each testdata/*.txtar is one story with a server of its own. Beside testscript's own commands it has:
//
//	server start [FLAG…] | stop | kill         the server; start sets AWS_ENDPOINT_URL and the rest in the environment
//	image FILE [-port N] [-env K=V]… [-format docker|oci|layout] [-arch A] [-empty] [ARG…]
//	                                           an image of test/testapp
//	image FILE -rootfs NAME [-user U] [-volume PATH]… [-script FILE] …
//	                                           an image of the Debian packages that make rootfs unpacked under that name
//	[!] funade ARG…, [!] aws ARG…              the programs, with stdout and stderr for the commands of that name
//	get URL [STATUS]                           GET at the front door, prints head and body; STATUS is 200 if left out
//	until DURATION REGEXP funade|aws|get|exec ARG…
//	                                           repeats a command until it succeeds and its output matches
//	capture NAME [REGEXP]                      puts the last stdout, or the first group in it, into the environment
//	login FILE                                 writes a registry auth file for skopeo and crane
//	outside LINK ADDRESS/BITS HOST/BITS…       a network beside the server's, with test/testapp at port 8080 of its hosts
//	hammer start URL | hammer stop             calls without pause; stop fails if any call failed
//	nothing-left                               after purge: no process, namespace, mount or cgroup of the install
package script
