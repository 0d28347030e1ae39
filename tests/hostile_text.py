"""A text that tries to break out of whatever language it is written in."""

TEXT = (
    'a"b\\c\\N</script><script>alert(1)</script><!--&amp;&#34;{|}[]()#35;`x`%%{init: {}}%%--> end; {{data}} '
    "${y} 1. é 日本 'quoted' \\"
)
