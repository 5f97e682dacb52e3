# A warning is good enough for this relying party. The tier stays what it is: the
# statement "accepted" says that this policy takes the machine.
package assize

acceptable := "warning"
