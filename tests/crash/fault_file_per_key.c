/* Every call of file_per_key's file system fails, in turn and by chance. */
#include "support/torture.h"

int main(void)
{
    return torture_suite_run("file_per_key");
}
