# A common nonce does for a binding: for machines whose devices nothing else ties to
# the CPU. It is no proof against a relay between two machines (docs/limitations.md),
# and the verdict says so.
package assize

accept contains "unbound-component"
