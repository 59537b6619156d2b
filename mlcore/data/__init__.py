"""From files to the study's parts: where data come from, and how they are split."""
