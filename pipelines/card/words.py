"""What a card says in words, the same for every version of this model."""

from typing import Final

PURPOSE: Final = (
    "Scores card transactions for fraud as they come in. A score at or above the alert threshold sends the transaction "
    "to a person (REVIEW), at or above the decline threshold it is declined; all others are approved."
)

LIMITS: Final = (
    "Made for transactions with the public set's 30 fields (Time, V1 to V28, Amount). V1 to V28 are principal "
    "components of fields that are not public: scores mean nothing for components computed otherwise.",
    "Frauds are few, so every figure is uncertain: read its interval, not its last digit.",
    "Figures are the evaluation twin's, fitted on the first part of the time only; what ships has the same settings "
    "and has learnt from all rows. Its own figures on later rows can only be measured on later rows.",
    "Fraud changes: expect the figures to fall with the months, watch them, and train again.",
    "Not for deciding about people: it knows nothing about them, and its errors fall unevenly on small and large "
    "amounts (see the gate's slices).",
)

ABLATIONS: Final = {
    "xgboost_alone": "XGBoost alone, same settings",
    "seed_recipe": "0.4 x isolation forest + 0.6 x XGBoost, untuned",
    "logistic_regression": "logistic regression",
}

FIGURES: Final = {
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "recall_at_fpr_0.01": "recall at 1 % false positives",
    "precision": "precision at the alert threshold",
    "recall": "recall at the alert threshold",
    "alerts_per_day": "alerts a day",
    "cost_per_day": "cost a day",
}
