/* Host loads the library that its argument names, calls its Answer, and waits. */
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    printf("READY %ld\n", (long)((long long (*)(void))dlsym(library, "Answer"))());
    fflush(stdout);
    return getchar() & 0;
}
