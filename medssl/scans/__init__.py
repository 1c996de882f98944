"""Reading and judging the files of scans."""
