# App Runner needs an image before it can exist, so the repositories come first.
locals {
  repositories = {
    gateway   = "${var.name}-api"
    pipelines = "${var.name}-pipelines"
    mlflow    = "${var.name}-mlflow"
  }
}

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_136:AES256 as before; images hold public code, no data and no secrets
  for_each             = local.repositories
  name                 = each.value
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protect_data

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "AES256"
  }
}

# Images are deployed by digest, and a rollback must find the former one.
resource "aws_ecr_lifecycle_policy" "image" {
  for_each   = aws_ecr_repository.image
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "the latest 100 images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 100 }
      action       = { type = "expire" }
    }]
  })
}

# Environments in other accounts run the same images, which are built once.
data "aws_iam_policy_document" "readers" {
  count = length(var.reader_account_ids) > 0 ? 1 : 0
  statement {
    sid = "PullByOtherEnvironments"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer",
    ]
    principals {
      type        = "AWS"
      identifiers = [for account in var.reader_account_ids : "${local.prefix}:iam::${account}:root"]
    }
  }
}

resource "aws_ecr_repository_policy" "readers" {
  for_each   = length(var.reader_account_ids) > 0 ? aws_ecr_repository.image : {}
  repository = each.value.name
  policy     = data.aws_iam_policy_document.readers[0].json
}
