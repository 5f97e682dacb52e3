# The rules of the verifier as they are. It says how many components count as part
# of the machine because known software says so, and demands nothing.
package assize

# A commitment that any program on the machine could have written counts where the
# software that wrote it is affirming. "strict" wants hardware or measurements.
annotations["bound-by-application"] := sprintf("%d", [count(by_application)]) if count(by_application) > 0

by_application contains label if {
	some how, labels in input.ways
	startswith(how, "strong")
	not how in {"strong measured", "strong hardware"}
	some label in labels
}
