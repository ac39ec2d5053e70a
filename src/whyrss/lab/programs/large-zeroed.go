// Large-zeroed shows large objects with pointers that are resident although nobody wrote to them.
//
//	large-zeroed [MIB]      (default 128)
//
// It makes slices of pointers of 16 MiB each, together MIB (8 MiB each below 64 MIB), and never writes to them.
// Memory fresh from the kernel is zero, so no page need be touched; Go 1.24.0 to 1.24.5 clear it all the same
// (golang/go issue 72991), and MIB are resident.  Earlier releases, and 1.24.6 and later, leave it alone: HeapAlloc is
// MIB there too, and RSS is not.
//
// It prints "READY {json}", then obeys the lines of its standard input until that ends:
//
//	check   look for a pointer that is not nil: "OK 8 objects", or "BAD n" with the number of objects that have one
//	stats   "STATS {json}", the same figures as in READY, read now
//
// Compiles with Go 1.12 to 1.27, together with common.go.
package main

const pointerBytes = 8

var objects [][]*int

func main() {
	size := sizeMiB() * mib
	objectBytes := 16 * mib
	if size < 64*mib {
		objectBytes = 8 * mib
	}
	objects = make([][]*int, size/objectBytes)
	for i := range objects {
		objects[i] = make([]*int, objectBytes/pointerBytes)
	}
	obey(check)
}

// check only reads, and a page that was never written stays out of RSS when it is read.
func check() string {
	bad := 0
	for _, object := range objects {
		if !empty(object) {
			bad++
		}
	}
	return verdict(bad, len(objects), "objects")
}

func empty(object []*int) bool {
	for _, pointer := range object {
		if pointer != nil {
			return false
		}
	}
	return true
}
