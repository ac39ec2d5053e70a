// Empty does nothing: whatever its DWARF tells of is the runtime.
package main

func main() {}
