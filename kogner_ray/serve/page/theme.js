// Light or dark: as the system says until the reader chooses. A classic script in <head>, so that nothing flashes.
"use strict";

(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const systemTheme = () => (system.matches ? "dark" : "light");
  const theme = () => root.dataset.theme ?? systemTheme();
  const other = () => (theme() === "dark" ? "light" : "dark");

  function remembered() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden
    }
  }

  function choose(name) {
    if (name === "light" || name === "dark") root.dataset.theme = name;
    else delete root.dataset.theme;
  }

  function toggle() {
    const chosen = other() === systemTheme() ? null : other();
    choose(chosen);
    try {
      if (chosen) localStorage.setItem("theme", chosen);
      else localStorage.removeItem("theme");
    } catch {
      // the choice then lasts as long as the page
    }
  }

  choose(remembered());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      button.textContent = other() === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", `${button.textContent} colours`);
    };
    button.addEventListener("click", () => {
      toggle();
      name();
    });
    system.addEventListener("change", name);
    name();
  });
})();
