// Wide code and tables scroll, so the keyboard must reach them.
addEventListener("load", () => {
  for (const element of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset__table")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
  }
});
