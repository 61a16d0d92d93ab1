/* Every call of bucket's file system fails, in turn and by chance. */
#include "support/torture.h"

int main(void)
{
    return torture_suite_run("bucket");
}
