addEventListener("load", () => {
  // Wide code and tables scroll, so the keyboard must reach them.
  for (const element of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset__table")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
  }
  // The theme gives its search dialog no name, and makes landmarks of each copy button and each part of a page's contents.
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const part of document.querySelectorAll(".md-code__nav, .md-nav--secondary .md-nav")) {
    part.setAttribute("role", "none");
    part.removeAttribute("aria-label");
  }
});
