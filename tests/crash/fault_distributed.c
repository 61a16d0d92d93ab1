/* Every call of distributed's file system fails, in turn and by chance. */
#include "support/torture.h"

int main(void)
{
    return torture_suite_run("distributed");
}
