// What wit-bindgen has generated, compiled so that it frees nothing: all that it would free is in the memory of a call (`memory.h`).
#include <stdlib.h>
#define free(pointer) ((void)(pointer))

#include "../../generated/component.c"
