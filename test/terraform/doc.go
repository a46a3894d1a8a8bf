// Package terraform applies, updates, plans and destroys with the real Terraform and its AWS provider. Neither can be
// installed from Debian or as a Go module, so the story skips, loudly, where they are missing: it looks for terraform in
// PATH and for the provider in the folders of TF_PLUGIN_MIRROR and in the usual places of local mirrors.
package terraform
