/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a test lays out: tokens, certificates, labels. */
#ifndef TESTS_SUPPORT_FILE_H
#define TESTS_SUPPORT_FILE_H

/* Makes the file, or replaces what is in it. A file that cannot be written ends the test. */
void file_write(const char *path, const char *text);

#endif
